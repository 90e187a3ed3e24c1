#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace portico::bench {

/// Counts latencies in buckets at most 1.6 % wide, from a nanosecond to 18 minutes (longer ones count as that), in 20
/// KiB. Thread-safe, lock-free.
class LatencyHistogram {
 public:
  void Add(absl::Duration latency);
  int64_t count() const { return count_.load(std::memory_order_relaxed); }
  /// The latency that `share` (0 to 1) of those added did not exceed; zero when none were added.
  absl::Duration Percentile(double share) const;

 private:
  /// Buckets per doubling: 2^6.
  static constexpr int kBits = 6;
  static constexpr size_t kBuckets = (40 - kBits + 1) << kBits;
  static size_t BucketOf(uint64_t ns);
  /// The highest value of a bucket.
  static uint64_t TopOf(size_t bucket);

  std::array<std::atomic<int64_t>, kBuckets> buckets_{};
  std::atomic<int64_t> count_{0};
};

}  // namespace portico::bench
