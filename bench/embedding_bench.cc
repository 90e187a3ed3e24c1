// Looking embedding rows up in this process, on one thread: a shard file that is mapped (pages of 4 KB) and one read
// into memory (huge pages), beside a gather that reads the same cache lines in the same order from the same memory,
// with addresses worked out beforehand, prefetched as far ahead and into the cache that turns out best, and adds
// nothing up: the ceiling. Beside it, for the same rows: a std::unordered_map under a mutex, and RocksDB MultiGet with
// everything cached.
//
// PORTICO_BENCH_ROWS: rows of a table (default 4 million, of which the other stores get a quarter: that favours them).

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/check.h"
#include "bench/scenarios.h"
#include "bench/table_lookups.h"
#include "embedding/delta_writer.h"
#include "embedding/id_hash.h"
#include "embedding/shard_file.h"
#include "embedding/shard_versions.h"
#include "tests/testing/temp_folder.h"
#ifdef PORTICO_BENCH_ROCKSDB
#include "rocksdb/cache.h"
#include "rocksdb/db.h"
#include "rocksdb/filter_policy.h"
#include "rocksdb/options.h"
#include "rocksdb/table.h"
#endif

namespace portico::bench {
namespace {

constexpr int kRounds = 7;

/// Reads, and keeps the compiler from leaving it out.
inline void Touch(const char* line) {
  uint64_t word;
  std::memcpy(&word, line, sizeof(word));
  asm volatile("" : : "r"(word));
}

/// The ceiling: every line that a lookup must read, fetched `ahead` ids before.
class Gather {
 public:
  Gather(const EmbeddingTable& table, const TableLookups& requests) {
    const TableMemory& memory = table.memory();
    bytes_ = RowHeadBytes(table.spec().id_kind) + EncodedBytes(table.spec().row_type, table.spec().dim);
    for (size_t i = 0; i < requests.ids.size(); ++i) {
      rows_.push_back(memory.rows + requests.rows[i] * memory.stride);
      if (table.spec().id_kind == IdKind::kDense) continue;
      const uint64_t hash = HashId(static_cast<uint64_t>(requests.ids[i]), table.spec().seed);
      buckets_.push_back(reinterpret_cast<const char*>(&memory.index.Home(hash)));
    }
  }
  /// `kLevel`: 3 fetches into the first-level cache, 2 into the second.
  template <int kLevel>
  void Run(size_t first, size_t ahead) const {
    const size_t end = first + kBatchIds;
    for (size_t i = first; i < end; ++i) {
      if (i + ahead < end) {
        ForLines(rows_[i + ahead], [](const char* line) { __builtin_prefetch(line, 0, kLevel); });
        if (!buckets_.empty()) __builtin_prefetch(buckets_[i + ahead], 0, kLevel);
      }
      if (!buckets_.empty()) Touch(buckets_[i]);
      ForLines(rows_[i], Touch);
    }
  }

 private:
  template <typename Line>
  void ForLines(const char* row, Line line) const {
    for (const char* at = row - reinterpret_cast<uintptr_t>(row) % 64; at < row + bytes_; at += 64) line(at);
  }
  std::vector<const char*> rows_;
  std::vector<const char*> buckets_;
  size_t bytes_;
};

void RunTable(Report& report, const TableLoad& load, const std::string& path, const TableLookups& requests,
              bool in_memory) {
  const auto file = ShardFile::Open(path, {.in_memory = in_memory});
  PORTICO_CHECK(file.ok() && (*file)->Verify([](uint64_t) { return true; }).ok());
  const EmbeddingTable& table = *(*file)->tables()[0];
  const Gather gather(table, requests);
  std::vector<double> ours, ceiling;
  for (int round = 0; round < kRounds; ++round) {
    ours.push_back(SumRate(table, requests));
    double best = 0;
    for (const size_t ahead : {8, 16, 32}) {
      best = std::max(best, LookupRate([&](size_t first) { gather.Run<3>(first, ahead); }));
      best = std::max(best, LookupRate([&](size_t first) { gather.Run<2>(first, ahead); }));
    }
    ceiling.push_back(best);
  }
  Figure figure;
  figure.name = absl::StrCat("embedding.", load.name, in_memory ? ".huge" : ".mapped", ".of_gather");
  figure.value = Median(ours);
  figure.unit = "rows/s";
  figure.baseline = Median(ceiling);
  figure.at_least = 0.8;
  report.Add(figure);
}

/// The same rows behind one lock, each in memory of its own.
double MapRate(const TableLoad& load, const TableLookups& requests, size_t rows) {
  std::unordered_map<int64_t, std::vector<float>> map;
  for (size_t row = 0; row < rows; ++row)
    map.emplace(IdOf(load.spec.id_kind, row), std::vector<float>(load.spec.dim, 0.5f));
  std::mutex mutex;
  std::vector<float> out(load.spec.dim);
  std::vector<double> rates;
  for (int round = 0; round < 3; ++round) {
    rates.push_back(LookupRate([&](size_t first) {
      for (size_t i = first; i < first + kBatchIds; ++i) {
        const std::lock_guard<std::mutex> lock(mutex);
        const auto found = map.find(requests.ids[i]);
        PORTICO_CHECK(found != map.end());
        for (size_t d = 0; d < load.spec.dim; ++d) out[d] += found->second[d];
      }
    }));
  }
  return Median(rates);
}

#ifdef PORTICO_BENCH_ROCKSDB
double RocksDbRate(const TableLoad& load, const TableLookups& requests, size_t rows) {
  const TempFolder folder;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(size_t{8} << 30);
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  rocksdb::Options options;
  options.create_if_missing = true;
  options.compression = rocksdb::kNoCompression;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  rocksdb::DB* opened = nullptr;
  PORTICO_CHECK(rocksdb::DB::Open(options, folder.path(), &opened).ok());
  const std::unique_ptr<rocksdb::DB> db(opened);
  const std::string value(EncodedBytes(load.spec.row_type, load.spec.dim), 'v');
  rocksdb::WriteOptions write;
  write.disableWAL = true;
  const auto key = [](const int64_t& id) { return rocksdb::Slice(reinterpret_cast<const char*>(&id), sizeof(id)); };
  for (size_t row = 0; row < rows; ++row) {
    const int64_t id = IdOf(load.spec.id_kind, row);
    PORTICO_CHECK(db->Put(write, key(id), value).ok());
  }
  PORTICO_CHECK(db->Flush({}).ok() && db->CompactRange({}, nullptr, nullptr).ok());
  constexpr size_t kKeys = 1024;
  std::vector<rocksdb::Slice> keys(kKeys);
  std::vector<rocksdb::PinnableSlice> values(kKeys);
  std::vector<rocksdb::Status> statuses(kKeys);
  const auto batch = [&](size_t first) {
    for (size_t i = 0; i < kKeys; ++i) keys[i] = key(requests.ids[first + i]);
    db->MultiGet({}, db->DefaultColumnFamily(), kKeys, keys.data(), values.data(), statuses.data());
    for (size_t i = 0; i < kKeys; ++i) {
      PORTICO_CHECK(statuses[i].ok());
      values[i].Reset();
    }
  };
  // Everything into the cache.
  for (size_t first = 0; first < requests.ids.size(); first += kKeys) batch(first);
  std::vector<double> rates;
  for (int round = 0; round < 3; ++round) rates.push_back(LookupRate(batch, kKeys));
  return Median(rates);
}
#endif

void RunStores(Report& report, const TableLoad& load, const std::string& path, size_t rows) {
  const size_t few = rows / 4;
  const TableLookups requests = DrawLookups(load, few);
  const auto file = ShardFile::Open(path);
  PORTICO_CHECK(file.ok() && (*file)->Verify([](uint64_t) { return true; }).ok());
  std::vector<double> ours;
  for (int round = 0; round < 3; ++round) {
    ours.push_back(SumRate(*(*file)->tables()[0], requests));
  }
  Figure figure;
  figure.unit = "rows/s";
  figure.value = Median(ours);
  figure.name = absl::StrCat("embedding.", load.name, ".of_map");
  figure.baseline = MapRate(load, requests, few);
  report.Add(figure);
#ifdef PORTICO_BENCH_ROCKSDB
  figure.name = absl::StrCat("embedding.", load.name, ".of_rocksdb");
  figure.baseline = RocksDbRate(load, requests, few);
  figure.ratio = 0;
  figure.at_least = 20;
  report.Add(figure);
#endif
}

void Run(Report& report) {
  const size_t rows = TableRows();
  const TableLoad loads[] = {
      {"sparse.int8.128.sum32",
       {.name = "t", .dim = 128, .row_type = RowType::kInt8, .id_kind = IdKind::kSparse},
       32,
       0},
      {"sparse.int8.128.sum32.zipf099",
       {.name = "t", .dim = 128, .row_type = RowType::kInt8, .id_kind = IdKind::kSparse},
       32,
       0.99},
      {"dense.int8.128.sum32", {.name = "t", .dim = 128, .row_type = RowType::kInt8}, 32, 0},
      {"sparse.float16.64.one",
       {.name = "t", .dim = 64, .row_type = RowType::kFloat16, .id_kind = IdKind::kSparse},
       1,
       0},
      {"dense.float32.64.sum32", {.name = "t", .dim = 64}, 32, 0},
  };
  for (size_t i = 0; i < std::size(loads); ++i) {
    const TableLoad& load = loads[i];
    const TempFolder folder;
    const std::string path = folder.File("shard");
    BuildTable(path, load.spec, rows);
    const TableLookups requests = DrawLookups(load, rows);
    RunTable(report, load, path, requests, false);
    RunTable(report, load, path, requests, true);
    if (i == 0) RunStores(report, load, path, rows);
  }
}

/// Puts a delta behind `parts` that changes every `step`-th of the first rows, `count` in all.
void AddDelta(ShardParts& parts, const std::string& path, const TableSpec& spec, size_t count, size_t step,
              float value) {
  auto writer = DeltaWriter::Create(path, {.base = parts.content, .state = parts.State()});
  PORTICO_CHECK(writer.ok() && (*writer)->BeginTable(spec, 0).ok());
  const std::vector<float> values(spec.dim, value);
  for (size_t i = 0; i < count; ++i)
    PORTICO_CHECK((*writer)->Upsert({.number = IdOf(IdKind::kSparse, i * step)}, values).ok());
  PORTICO_CHECK((*writer)->EndTable().ok() && (*writer)->Commit().ok());
  const auto delta = DeltaFile::Read(path);
  PORTICO_CHECK(delta.ok());
  parts.deltas.push_back({path, delta->digest});
}

std::shared_ptr<const ShardVersion> OpenVersion(ShardStore& store, const ShardParts& parts) {
  auto version = store.Open(parts);
  PORTICO_CHECK(version.ok());
  for (const auto& table : (*version)->tables()) PORTICO_CHECK(table != nullptr);
  PORTICO_CHECK((*version)->base().Verify([](uint64_t) { return true; }).ok());
  return *std::move(version);
}

/// Lookups in a table of which no id, one, a hundredth, and all were updated; and what the next version costs whoever
/// makes it, alone and beside a reader.
void RunUpdates(Report& report) {
  const TableLoad load{"sparse.int8.128.sum32",
                       {.name = "t", .dim = 128, .row_type = RowType::kInt8, .id_kind = IdKind::kSparse},
                       32,
                       0};
  const size_t rows = TableRows();
  const TempFolder folder;
  ShardParts base;
  base.base_path = folder.File("shard");
  BuildTable(base.base_path, load.spec, rows);
  base.content = (*ShardFile::Open(base.base_path))->layout().content;
  const TableLookups requests = DrawLookups(load, rows);
  ShardStore store;
  struct Case {
    std::string name;
    size_t updated;
    std::shared_ptr<const ShardVersion> version;
    std::vector<double> rates;
  };
  std::vector<Case> cases = {
      {"none", 0, {}, {}}, {"one", 1, {}, {}}, {"1pct", rows / 100, {}, {}}, {"all", rows, {}, {}}};
  std::vector<ShardParts> parts(cases.size(), base);
  for (size_t i = 0; i < cases.size(); ++i) {
    const size_t updated = cases[i].updated;
    if (updated > 0) AddDelta(parts[i], folder.File(cases[i].name), load.spec, updated, rows / updated, 0.5f);
    cases[i].version = OpenVersion(store, parts[i]);
  }
  const auto rate = [&](const ShardVersion& version) { return SumRate(*version.tables()[0], requests); };
  for (int round = 0; round < kRounds; ++round) {
    for (Case& one : cases) one.rates.push_back(rate(*one.version));
  }
  for (const Case& one : cases) {
    report.Add({.name = absl::StrCat("embedding.updates.lookup.", one.name),
                .value = Median(one.rates),
                .unit = "rows/s",
                .baseline = &one == &cases[0] ? 0 : Median(cases[0].rates)});
  }
  // The writer: versions of 100,000 updates each on top of a hundredth of the rows.
  constexpr size_t kUpdates = 100'000;
  ShardParts next = parts[2];
  std::shared_ptr<const ShardVersion> newest = cases[2].version;
  std::vector<double> made;
  std::vector<double> beside;
  for (int round = 0; round < kRounds; ++round) {
    const size_t count = std::min(kUpdates, rows / 2);
    AddDelta(next, folder.File(absl::StrCat("next", round)), load.spec, count, rows / count, static_cast<float>(round));
    std::shared_ptr<const ShardVersion> made_now;
    absl::Duration took;
    std::thread writer([&] {
      const absl::Duration start = ThreadTime();
      made_now = OpenVersion(store, next);
      took = ThreadTime() - start;
    });
    beside.push_back(rate(*newest));
    writer.join();
    made.push_back(static_cast<double>(count) / absl::ToDoubleSeconds(took));
    newest = std::move(made_now);
  }
  report.Add({.name = "embedding.updates.writer",
              .value = Median(made),
              .unit = "rows/s",
              .at_least = 100'000,
              .aim_on_ratio = false});
  report.Add({.name = "embedding.updates.lookup.beside_writer",
              .value = Median(beside),
              .unit = "rows/s",
              .baseline = Median(cases[2].rates)});
}

}  // namespace

std::vector<Scenario> EmbeddingScenarios() {
  return {{"embedding.process", "embedding rows found and added up, beside a bare gather of the same lines", Run},
          {"embedding.updates", "the same with rows that deltas brought, and what the next version costs", RunUpdates}};
}

}  // namespace portico::bench
