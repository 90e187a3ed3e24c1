#include "bench/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace portico::bench {

size_t LatencyHistogram::BucketOf(uint64_t ns) {
  // Below 2^kBits a bucket a value; above, the kBits bits behind the first one say which.
  const int doubling = std::max(0, static_cast<int>(std::bit_width(ns)) - kBits - 1);
  const auto bucket = (static_cast<size_t>(doubling) << kBits) + static_cast<size_t>(ns >> doubling);
  return std::min(bucket, kBuckets - 1);
}

uint64_t LatencyHistogram::TopOf(size_t bucket) {
  if (bucket < (size_t{2} << kBits)) return bucket;
  const size_t doubling = (bucket >> kBits) - 1;
  const uint64_t mantissa = bucket - (doubling << kBits);
  return ((mantissa + 1) << doubling) - 1;
}

void LatencyHistogram::Add(absl::Duration latency) {
  const int64_t ns = absl::ToInt64Nanoseconds(std::max(latency, absl::ZeroDuration()));
  buckets_[BucketOf(static_cast<uint64_t>(ns))].fetch_add(1, std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_relaxed);
}

absl::Duration LatencyHistogram::Percentile(double share) const {
  const auto wanted = static_cast<int64_t>(std::ceil(share * static_cast<double>(count())));
  int64_t seen = 0;
  for (size_t bucket = 0; bucket < kBuckets; ++bucket) {
    seen += buckets_[bucket].load(std::memory_order_relaxed);
    if (seen >= wanted && seen > 0) return absl::Nanoseconds(static_cast<int64_t>(TopOf(bucket)));
  }
  return absl::ZeroDuration();
}

}  // namespace portico::bench
