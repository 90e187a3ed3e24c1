#include "cli/table_bench.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"

namespace portico {
namespace {

/// So many requests with other ids each, then again from the first.
constexpr size_t kRequests = 64;

struct Ids {
  std::vector<int64_t> numbers;
  std::vector<absl::string_view> strings;
};

/// The ids of rows chosen at random, as they stand in front of the rows.
Ids ChooseIds(const EmbeddingTable& table, size_t count) {
  const TableMemory& memory = table.memory();
  std::mt19937_64 random(1);
  Ids ids;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t row = random() % memory.row_count;
    uint64_t head[2] = {row, 0};
    std::memcpy(head, memory.rows + row * memory.stride, RowHeadBytes(table.spec().id_kind));
    if (table.spec().id_kind != IdKind::kString) {
      ids.numbers.push_back(static_cast<int64_t>(head[0]));
    } else {
      ids.strings.push_back(
          memory.strings.substr(std::min<uint64_t>(head[1] >> 16, memory.strings.size()), head[1] & 0xffff));
    }
  }
  return ids;
}

}  // namespace

absl::StatusOr<std::string> RunTableBench(const EmbeddingTable& table, const TableBench& bench) {
  if (table.memory().row_count == 0)
    return absl::InvalidArgumentError(absl::StrFormat("table '%s': got no rows, want some", table.spec().name));
  const size_t request_ids = bench.bags * bench.ids_per_bag;
  const Ids ids = ChooseIds(table, kRequests * request_ids);
  std::vector<float> out(bench.bags * table.spec().dim);
  std::vector<absl::Duration> took;
  const absl::Time start = absl::Now();
  absl::Time now = start;
  while (now - start < bench.time) {
    const size_t first = took.size() % kRequests * request_ids;
    IdBags bags;
    bags.width = bench.ids_per_bag;
    if (!ids.numbers.empty()) bags.ids = absl::MakeConstSpan(ids.numbers).subspan(first, request_ids);
    if (!ids.strings.empty()) bags.strings = absl::MakeConstSpan(ids.strings).subspan(first, request_ids);
    RETURN_IF_ERROR(table.Lookup(bags, Pooling::kSum, absl::MakeSpan(out)).status());
    const absl::Time end = absl::Now();
    took.push_back(end - now);
    now = end;
  }
  const double seconds = absl::ToDoubleSeconds(now - start);
  std::sort(took.begin(), took.end());
  const auto at = [&took](double share) {
    return absl::ToDoubleMicroseconds(took[static_cast<size_t>(share * static_cast<double>(took.size() - 1))]);
  };
  return absl::StrFormat("%s: %.1f M rows/s, %d bags of %d ids: p50 %.0f us, p99 %.0f us, p99.9 %.0f us\n",
                         table.spec().name, static_cast<double>(took.size() * request_ids) / seconds / 1e6, bench.bags,
                         bench.ids_per_bag, at(0.5), at(0.99), at(0.999));
}

}  // namespace portico
