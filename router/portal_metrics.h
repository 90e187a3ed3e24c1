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
  /// A replica could not answer and another was asked.
  void Retried() { Lazy(retries_, "portico_portal_retries_total", "Portal calls that another replica was asked for."); }
  /// Another replica was there, but no token for it.
  void RetryRefused() {
    Lazy(refused_retries_, "portico_portal_retries_refused_total", "Portal retries that the budget did not cover.");
  }
  /// A second replica was asked because the first one took long.
  void Hedged() {
    Lazy(hedges_, "portico_portal_hedges_total", "Portal calls sent to a second replica because the first was slow.");
  }
  void HedgeWon() {
    Lazy(hedges_won_, "portico_portal_hedges_won_total", "Portal calls that the second replica answered first.");
  }
  void HedgeRefused() {
    Lazy(refused_hedges_, "portico_portal_hedges_refused_total", "Portal hedges that the budget did not cover.");
  }
  /// The policy's max_in_flight was reached.
  void WindowFull() {
    Lazy(window_full_, "portico_portal_window_refused_total", "Portal calls refused because max_in_flight were out.");
  }
  /// A failed call was answered all the same; `kind`: one of a few words.
  void FellBack(absl::string_view kind) {
    registry_
        .NewCounter("portico_portal_fallbacks_total", "Failed portal calls that were answered by their fallback.",
                    {{"target", target_}, {"kind", std::string(kind)}})
        .Increment();
  }
  void Ejected() {
    Lazy(ejections_, "portico_portal_ejections_total", "Times a replica was put aside for faults or for being slow.");
  }
  /// How many replicas take calls, are put aside, or are not connected.
  void SetReplicas(size_t ready, size_t ejected, size_t away);

 private:
  /// Counts in a counter that is made when first needed, so that /metrics shows only what happened.
  void Lazy(std::atomic<Counter*>& slot, absl::string_view name, absl::string_view help);

  MetricRegistry& registry_;
  const std::string target_;
  Gauge& in_flight_;
  Histogram& latency_;
  /// By code; made when first needed.
  std::array<std::atomic<Counter*>, 17> calls_{};
  std::atomic<Counter*> retries_{nullptr};
  std::atomic<Counter*> refused_retries_{nullptr};
  std::atomic<Counter*> hedges_{nullptr};
  std::atomic<Counter*> hedges_won_{nullptr};
  std::atomic<Counter*> refused_hedges_{nullptr};
  std::atomic<Counter*> window_full_{nullptr};
  std::atomic<Counter*> ejections_{nullptr};
  /// Ready, ejected, away; made with the first SetReplicas().
  std::array<std::atomic<Gauge*>, 3> replicas_{};
};

}  // namespace portico
