#pragma once

#include <array>
#include <atomic>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/metric.h"

namespace portico {

/// The figures of one target's calls. Thread-safe; lock-free once each code has been seen.
class PortalMetrics {
 public:
  /// `registry` is not owned and must outlive this.
  PortalMetrics(MetricRegistry& registry, std::string target);

  void Began() { in_flight_.Add(1); }
  void Ended(absl::StatusCode code, absl::Duration latency);

 private:
  MetricRegistry& registry_;
  const std::string target_;
  Gauge& in_flight_;
  Histogram& latency_;
  /// By code; made when first needed, so that /metrics shows only what happened.
  std::array<std::atomic<Counter*>, 17> calls_{};
};

}  // namespace portico
