#include "router/latency_quantile.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace portico {
namespace {

constexpr int64_t kLookEveryUs = 100'000;
/// In place of the time of the next look.
constexpr int64_t kLooking = std::numeric_limits<int64_t>::max();
constexpr int64_t kAgeEveryUs = 1'000'000;
/// What remains of what was known a second ago.
constexpr double kKeep = 15.0 / 16;
/// With less than so many samples, nothing is forgotten: a target that is rarely called would never be known.
constexpr uint64_t kAgeFrom = 2 * LatencyQuantile::kMinSamples;

}  // namespace

size_t LatencyQuantile::BucketOf(uint64_t us) {
  constexpr uint64_t kLinear = uint64_t{1} << kBits;
  if (us < kLinear) return us;
  const int shift = std::bit_width(us) - 1 - kBits;
  const size_t bucket = (static_cast<size_t>(shift + 1) << kBits) + ((us >> shift) - kLinear);
  return std::min(bucket, kBuckets - 1);
}

uint64_t LatencyQuantile::TopOf(size_t bucket) {
  constexpr uint64_t kLinear = uint64_t{1} << kBits;
  if (bucket < kLinear) return bucket + 1;
  const size_t shift = (bucket >> kBits) - 1;
  return (kLinear + (bucket & (kLinear - 1)) + 1) << shift;
}

void LatencyQuantile::Learn(absl::Duration latency, absl::Time now) {
  const int64_t us = std::max<int64_t>(absl::ToInt64Microseconds(latency), 0);
  buckets_[BucketOf(static_cast<uint64_t>(us))].fetch_add(kWhole, std::memory_order_relaxed);
  const int64_t now_us = absl::ToUnixMicros(now);
  int64_t next = next_look_us_.load(std::memory_order_relaxed);
  if (now_us < next) return;
  // Who comes first looks for all. Nobody else does until it has: what it found would hide what a later look did.
  if (!next_look_us_.compare_exchange_strong(next, kLooking, std::memory_order_acquire)) return;
  Look(now_us);
  next_look_us_.store(now_us + kLookEveryUs, std::memory_order_release);
}

void LatencyQuantile::Look(int64_t now_us) {
  uint64_t total = 0;
  for (const std::atomic<uint64_t>& bucket : buckets_) total += bucket.load(std::memory_order_relaxed);
  if (total < kMinSamples * kWhole) return;
  const auto rank =
      static_cast<uint64_t>(std::ceil(share_.load(std::memory_order_relaxed) * static_cast<double>(total)));
  uint64_t below = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    below += buckets_[i].load(std::memory_order_relaxed);
    if (below < rank) continue;
    quantile_us_.store(TopOf(i), std::memory_order_relaxed);
    break;
  }
  const int64_t aged_at = aged_at_us_.load(std::memory_order_relaxed);
  if (aged_at == 0) aged_at_us_.store(now_us, std::memory_order_relaxed);
  if (aged_at == 0 || now_us - aged_at < kAgeEveryUs || total < kAgeFrom * kWhole) return;
  aged_at_us_.store(now_us, std::memory_order_relaxed);
  const double keep = std::pow(kKeep, static_cast<double>(now_us - aged_at) / kAgeEveryUs);
  // Never so much that nothing would be known any more.
  const double least = static_cast<double>(kMinSamples * kWhole) / static_cast<double>(total);
  const double forget = 1 - std::max(keep, least);
  for (std::atomic<uint64_t>& bucket : buckets_) {
    const uint64_t count = bucket.load(std::memory_order_relaxed);
    bucket.fetch_sub(static_cast<uint64_t>(static_cast<double>(count) * forget), std::memory_order_relaxed);
  }
}

absl::Duration LatencyQuantile::Get() const {
  const uint64_t us = quantile_us_.load(std::memory_order_relaxed);
  return us == 0 ? absl::InfiniteDuration() : absl::Microseconds(static_cast<int64_t>(us));
}

}  // namespace portico
