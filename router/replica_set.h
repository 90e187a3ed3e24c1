#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/servable_ref.h"
#include "router/blame.h"
#include "router/call_window.h"
#include "router/endpoint.h"
#include "router/hedging.h"
#include "router/policies/policy.h"
#include "router/portal_metrics.h"
#include "router/retry_budget.h"
#include "router/revision.h"

namespace portico {

/// One of the nodes that serve a target, as calls to this target see it. Thread-safe, lock-free but for the first call
/// after a change.
class Replica {
 public:
  /// `policy` is not owned and must outlive the replica.
  Replica(Endpoint& endpoint, const RoutePolicy& policy) : endpoint_(endpoint), policy_(policy) {}

  Endpoint& endpoint() const { return endpoint_; }
  Standing StandingFor(const ServableRef& wanted);
  Candidate AsCandidate(absl::Time now) const;
  /// A call that ended `now` told how fast the replica is, or that it fails. True where that put it aside.
  bool Learn(absl::Time now, absl::Duration latency, Blame blame);
  /// Put aside, for faults in a row.
  bool Ejected(absl::Time now) const {
    return absl::ToUnixMicros(now) < ejected_until_us_.load(std::memory_order_relaxed);
  }

 private:
  bool CountFault(absl::Time now);

  Endpoint& endpoint_;
  const RoutePolicy& policy_;
  /// Endpoint's version << 2 | Standing, so that both change together.
  std::atomic<uint64_t> standing_{0};
  /// Exponentially weighted, in seconds; 0: unknown.
  std::atomic<double> latency_{0};
  std::atomic<int64_t> learned_at_us_{0};
  std::atomic<int> faults_in_a_row_{0};
  /// In a row, without an answer between.
  std::atomic<int> ejections_{0};
  std::atomic<int64_t> ejected_until_us_{0};
};

/// The replicas of one target (name and digest), and which of them takes the next call. Thread-safe; never changes its
/// members; lives as long as the router.
class ReplicaSet {
 public:
  /// `balance` and `policy` are not owned and must outlive the set.
  ReplicaSet(ServableRef target, const std::vector<Endpoint*>& endpoints, const BalancePolicy& balance,
             const RoutePolicy& policy, MetricRegistry& metrics);

  /// Connected replicas first; else one that was never connected; else null. Of the connected ones not those that are
  /// put aside, unless they are more than half: then it is not the replicas that are at fault. Never one of `tried`.
  /// `random`: a uniform draw.
  Replica* Pick(absl::Time now, uint64_t random, absl::Span<Replica* const> tried = {});
  /// OK where a connected replica could take a call; else UNAVAILABLE, naming endpoints and their state.
  absl::Status Health();
  /// The same message, whatever the state is: for a call that found no replica.
  absl::Status Unavailable() const;

  const ServableRef& target() const { return target_; }
  const RoutePolicy& policy() const { return policy_; }
  size_t size() const { return replicas_.size(); }
  RetryBudget& retry_budget() { return retry_budget_; }
  Hedging& hedging() { return hedging_; }
  CallWindow& window() { return window_; }
  PortalMetrics& metrics() { return metrics_; }

 private:
  const ServableRef target_;
  const BalancePolicy& balance_;
  const RoutePolicy& policy_;
  RetryBudget retry_budget_;
  Hedging hedging_;
  CallWindow window_;
  PortalMetrics metrics_;
  std::vector<std::unique_ptr<Replica>> replicas_;
};

}  // namespace portico
