#include "router/portal_metrics.h"

#include <algorithm>
#include <utility>

namespace portico {

PortalMetrics::PortalMetrics(MetricRegistry& registry, std::string target)
    : registry_(registry),
      target_(std::move(target)),
      in_flight_(registry.NewGauge("portico_portal_calls_in_flight", "Portal calls waiting for their answer.",
                                   {{"target", target_}})),
      latency_(registry.NewHistogram("portico_portal_latency_seconds", "Time from a portal's call to its answer.",
                                     {{"target", target_}}, LatencyBuckets())) {}

void PortalMetrics::Ended(absl::StatusCode code, absl::Duration latency) {
  in_flight_.Add(-1);
  latency_.Observe(absl::ToDoubleSeconds(latency));
  std::atomic<Counter*>& slot = calls_[std::min<size_t>(static_cast<size_t>(code), calls_.size() - 1)];
  Counter* counter = slot.load(std::memory_order_acquire);
  if (counter == nullptr) {
    // Two threads may both come here; the registry gives both the same counter.
    counter = &registry_.NewCounter("portico_portal_calls_total", "Portal calls by target and outcome.",
                                    {{"target", target_}, {"code", absl::StatusCodeToString(code)}});
    slot.store(counter, std::memory_order_release);
  }
  counter->Increment();
}

void PortalMetrics::SetReplicas(size_t ready, size_t ejected, size_t away) {
  const std::array<std::pair<const char*, size_t>, 3> states = {
      {{"ready", ready}, {"ejected", ejected}, {"away", away}}};
  for (size_t i = 0; i < states.size(); ++i) {
    Gauge* gauge = replicas_[i].load(std::memory_order_acquire);
    if (gauge == nullptr) {
      gauge = &registry_.NewGauge("portico_portal_replicas", "Replicas of a portal's target as calls see them.",
                                  {{"target", target_}, {"state", states[i].first}});
      replicas_[i].store(gauge, std::memory_order_release);
    }
    gauge->Set(static_cast<double>(states[i].second));
  }
}

void PortalMetrics::Lazy(std::atomic<Counter*>& slot, absl::string_view name, absl::string_view help) {
  Counter* counter = slot.load(std::memory_order_acquire);
  if (counter == nullptr) {
    counter = &registry_.NewCounter(name, help, {{"target", target_}});
    slot.store(counter, std::memory_order_release);
  }
  counter->Increment();
}

}  // namespace portico
