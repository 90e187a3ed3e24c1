#include "bench/table_lookups.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <random>

#include "absl/strings/numbers.h"
#include "absl/types/span.h"
#include "base/check.h"
#include "embedding/id_bags.h"
#include "embedding/shard_writer.h"

namespace portico::bench {
namespace {

constexpr absl::Duration kRound = absl::Milliseconds(150);

/// Ranks by Zipf's law, from 0.
class Ranks {
 public:
  Ranks(size_t rows, double alpha) : rows_(rows), alpha_(alpha) {}
  size_t Next() {
    const double u = std::uniform_real_distribution<double>(0, 1)(random_);
    if (alpha_ == 0) return static_cast<size_t>(u * static_cast<double>(rows_)) % rows_;
    const double power = 1 - alpha_;
    const double top = std::pow(static_cast<double>(rows_), power) - 1;
    return static_cast<size_t>(std::pow(top * u + 1, 1 / power)) - 1;
  }

 private:
  const size_t rows_;
  const double alpha_;
  std::mt19937_64 random_{7};
};

}  // namespace

size_t TableRows() {
  const char* const text = std::getenv("PORTICO_BENCH_ROWS");
  uint64_t rows = 4'000'000;
  if (text != nullptr) PORTICO_CHECK(absl::SimpleAtoi(text, &rows) && rows >= 1000 && rows < kMaxTableRows);
  return rows;
}

int64_t IdOf(IdKind kind, size_t row) {
  return kind == IdKind::kDense ? static_cast<int64_t>(row) : static_cast<int64_t>(row * 0x9e3779b97f4a7c15ull);
}

TableLookups DrawLookups(const TableLoad& load, size_t rows) {
  TableLookups lookups;
  Ranks ranks(rows, load.alpha);
  for (size_t i = 0; i < kBatches * kBatchIds; ++i) {
    const size_t rank = ranks.Next();
    lookups.rows.push_back(load.by_rank ? rank : rank * 0x9e3779b97f4a7c15ull % rows);
    lookups.ids.push_back(IdOf(load.spec.id_kind, lookups.rows.back()));
  }
  for (size_t at = 0; at <= kBatchIds; at += load.pooling) lookups.offsets.push_back(static_cast<int64_t>(at));
  return lookups;
}

void BuildTable(const std::string& path, const TableSpec& spec, size_t rows) {
  auto writer = ShardWriter::Create(path, {});
  PORTICO_CHECK(writer.ok() && (*writer)->BeginTable(spec).ok());
  constexpr size_t kPiece = 4096;
  std::vector<float> values(kPiece * spec.dim);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 1009) / 500 - 1;
  std::vector<int64_t> ids;
  for (size_t first = 0; first < rows; first += kPiece) {
    const size_t count = std::min(kPiece, rows - first);
    ids.clear();
    for (size_t row = first; spec.id_kind == IdKind::kSparse && row < first + count; ++row)
      ids.push_back(IdOf(IdKind::kSparse, row));
    PORTICO_CHECK((*writer)->Add({.ids = ids, .values = absl::MakeConstSpan(values).first(count * spec.dim)}).ok());
  }
  PORTICO_CHECK((*writer)->EndTable().ok() && (*writer)->Commit().ok());
}

absl::Duration ThreadTime() {
  timespec time{};
  PORTICO_CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
  return absl::DurationFromTimespec(time);
}

double LookupRate(absl::FunctionRef<void(size_t first)> batch, size_t batch_ids) {
  size_t done = 0;
  const absl::Duration start = ThreadTime();
  absl::Duration took;
  do {
    batch(done % (kBatches * kBatchIds));
    done += batch_ids;
    took = ThreadTime() - start;
  } while (took < kRound);
  return static_cast<double>(done) / absl::ToDoubleSeconds(took);
}

double SumRate(const EmbeddingTable& table, const TableLookups& lookups) {
  std::vector<float> sums((lookups.offsets.size() - 1) * table.spec().dim);
  return LookupRate([&](size_t first) {
    const IdBags bags{.ids = absl::MakeConstSpan(lookups.ids).subspan(first, kBatchIds), .offsets = lookups.offsets};
    PORTICO_CHECK(table.Lookup(bags, Pooling::kSum, absl::MakeSpan(sums)).ok());
  });
}

}  // namespace portico::bench
