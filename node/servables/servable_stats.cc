#include "node/servables/servable_stats.h"

#include <algorithm>
#include <bit>

namespace portico {

void ServableStats::RequestDone(bool ok, absl::Duration latency, int64_t rows, absl::Time now) {
  (ok ? succeeded_ : failed_).Add(1, latency);
  if (ok) rows_.fetch_add(static_cast<uint64_t>(rows), std::memory_order_relaxed);
  last_request_ns_.store(absl::ToUnixNanos(now), std::memory_order_relaxed);
}

void ServableStats::OnRun(const Run& run) {
  queued_.Add(static_cast<uint64_t>(run.calls), run.queued);
  computed_.Add(static_cast<uint64_t>(run.calls), run.time * run.calls);
  runs_.fetch_add(1, std::memory_order_relaxed);
  sizes_[SizeIndex(run.rows)].Add(1, run.time);
}

size_t ServableStats::SizeIndex(int64_t rows) {
  if (rows <= kMaxExactRows) return static_cast<size_t>(std::max<int64_t>(rows, 0));
  // 129 to 256 is the first of the rest.
  return kMaxExactRows + static_cast<size_t>(std::bit_width(static_cast<uint64_t>(rows - 1))) - 7;
}

int64_t ServableStats::RowsOfIndex(size_t index) {
  return index <= kMaxExactRows ? static_cast<int64_t>(index) : int64_t{kMaxExactRows} << (index - kMaxExactRows);
}

ServableStats::Snapshot ServableStats::Read() const {
  Snapshot snapshot;
  snapshot.succeeded = succeeded_.Read();
  snapshot.failed = failed_.Read();
  snapshot.queued = queued_.Read();
  snapshot.computed = computed_.Read();
  snapshot.cache_hits = cache_hits_.Read();
  snapshot.cache_misses = cache_misses_.Read();
  snapshot.rows = rows_.load(std::memory_order_relaxed);
  snapshot.runs = runs_.load(std::memory_order_relaxed);
  snapshot.last_request = absl::FromUnixNanos(last_request_ns_.load(std::memory_order_relaxed));
  for (size_t i = 0; i < sizes_.size(); ++i) {
    const Total runs = sizes_[i].Read();
    if (runs.count > 0) snapshot.batch_sizes.push_back({RowsOfIndex(i), runs});
  }
  return snapshot;
}

}  // namespace portico
