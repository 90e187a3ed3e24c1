#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace portico {

/// A quantile of recent latencies: a histogram with buckets at most 6 % wide, from a microsecond to a minute, in which
/// what is old counts less (half after 11 s). Thread-safe, lock-free: one addition a call, and ten times a second one
/// caller reads all buckets.
class LatencyQuantile {
 public:
  /// So many latencies have to be known before it says anything.
  static constexpr int kMinSamples = 100;

  /// `share`: 0.95 for the latency that 95 of 100 calls did not exceed.
  explicit LatencyQuantile(double share) : share_(share) {}

  /// From the next look on.
  void SetShare(double share) { share_.store(share, std::memory_order_relaxed); }

  void Learn(absl::Duration latency, absl::Time now);
  /// The quantile, as of the last look; infinite as long as too little is known.
  absl::Duration Get() const;

  /// Buckets per doubling: 2^4.
  static constexpr int kBits = 4;
  static constexpr size_t kBuckets = (26 - kBits + 1) << kBits;
  static size_t BucketOf(uint64_t us);
  /// The highest value of a bucket, in microseconds.
  static uint64_t TopOf(size_t bucket);

 private:
  /// What a latency counts at first, so that parts of one can be forgotten.
  static constexpr uint64_t kWhole = 256;

  void Look(int64_t now_us);

  std::atomic<double> share_;
  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};
  std::atomic<int64_t> next_look_us_{0};
  /// Only by who looks.
  std::atomic<int64_t> aged_at_us_{0};
  /// 0: too little is known.
  std::atomic<uint64_t> quantile_us_{0};
};

}  // namespace portico
