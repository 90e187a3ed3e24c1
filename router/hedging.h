#pragma once

#include "absl/time/time.h"
#include "router/hedge_policy.h"
#include "router/hedge_queue.h"
#include "router/latency_quantile.h"
#include "router/live_policy.h"
#include "router/retry_budget.h"

namespace portico {

/// What the calls of one target know about hedging: when to ask a second replica, whether that is within the budget,
/// and who waits for it. Thread-safe; costs one branch where the policy has no hedging.
class Hedging {
 public:
  /// Hedges at once, beside the percentage.
  static constexpr int64_t kBurst = 10;

  /// `policy`: of the target; not owned, and must outlive this.
  explicit Hedging(const LivePolicy& policy)
      : policy_(policy), quantile_(hedge().percentile / 100.0), budget_(hedge().percent, kBurst) {}

  /// The policy has changed.
  void OnPolicy() {
    quantile_.SetShare(hedge().percentile / 100.0);
    budget_.SetPercent(hedge().percent);
  }
  bool on() const { return hedge().on(); }
  /// How long the first replica has; infinite where that is not known yet.
  absl::Duration Delay() const {
    const HedgePolicy& policy = hedge();
    return policy.percentile > 0 ? quantile_.Get() : policy.after;
  }
  /// What the first replica that a call went to took, or took at least. Those that are hedged count, too: else what is
  /// slow would be forgotten, and the percentile fall and fall.
  void Learn(absl::Duration latency, absl::Time now) {
    if (hedge().percentile > 0) quantile_.Learn(latency, now);
  }

  RetryBudget& budget() { return budget_; }
  HedgeQueue& queue() { return queue_; }

 private:
  const HedgePolicy& hedge() const { return policy_.policy().hedge; }

  const LivePolicy& policy_;
  LatencyQuantile quantile_;
  RetryBudget budget_;
  HedgeQueue queue_;
};

}  // namespace portico
