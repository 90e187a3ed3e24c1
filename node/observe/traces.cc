#include "node/observe/traces.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace portico {
namespace {

/// A request is slow for what took a good part of its time: pieces below this share of `slow` may be left out.
constexpr int kFloorShare = 20;
/// Slow traces that may come at once: a second's worth, in nanoseconds.
constexpr int64_t kBurstNs = 1'000'000'000;

uint64_t SampleBelow(double share) {
  const double bound = std::ldexp(std::clamp(share, 0.0, 1.0), 64);
  return bound >= std::ldexp(1.0, 64) ? UINT64_MAX : static_cast<uint64_t>(bound);
}

}  // namespace

Traces::Traces(const Options& options, MetricRegistry& metrics, TraceSink* sink)
    : capacity_(std::max<size_t>(options.capacity, 1)),
      slow_(options.slow > absl::ZeroDuration() ? options.slow : absl::InfiniteDuration()),
      span_floor_(slow_ / kFloorShare),
      sample_all_(options.sample >= 1),
      sample_below_(SampleBelow(options.sample)),
      slow_interval_ns_(static_cast<int64_t>(1e9 / std::max(options.slow_per_second, 1e-3))),
      sink_(sink),
      sampled_metric_(metrics.NewCounter("portico_traces_total", "Traces kept.", {{"kept", "sampled"}})),
      slow_metric_(metrics.NewCounter("portico_traces_total", "Traces kept.", {{"kept", "slow"}})) {}

bool Traces::TakeSlowTurn(absl::Time now) {
  const int64_t now_ns = absl::ToUnixNanos(now);
  int64_t paid = slow_paid_until_.load(std::memory_order_relaxed);
  while (true) {
    const int64_t next = std::max(paid, now_ns - kBurstNs) + slow_interval_ns_;
    if (next > now_ns) return false;
    if (slow_paid_until_.compare_exchange_weak(paid, next, std::memory_order_relaxed)) return true;
  }
}

void Traces::Add(Trace trace) {
  (trace.slow ? slow_metric_ : sampled_metric_).Increment();
  auto added = std::make_shared<Trace>(std::move(trace));
  std::shared_ptr<const Trace> oldest;  // Freed outside the lock.
  {
    MutexLock lock(&mutex_);
    added->number = ++last_number_;
    Ring& ring = added->slow ? slow_ring_ : sampled_ring_;
    ring.push_front(added);
    if (ring.size() > capacity_) {
      oldest = std::move(ring.back());
      ring.pop_back();
    }
  }
  if (sink_ != nullptr) sink_->Add(std::move(added));
}

std::vector<std::shared_ptr<const Trace>> Traces::Find(absl::string_view trace_id, bool slow_only) const {
  std::vector<std::shared_ptr<const Trace>> found;
  {
    MutexLock lock(&mutex_);
    found.assign(slow_ring_.begin(), slow_ring_.end());
    if (!slow_only) found.insert(found.end(), sampled_ring_.begin(), sampled_ring_.end());
  }
  if (!trace_id.empty()) {
    const auto other = [&](const auto& trace) { return TraceIdHex(trace->context) != trace_id; };
    found.erase(std::remove_if(found.begin(), found.end(), other), found.end());
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a->number > b->number; });
  return found;
}

}  // namespace portico
