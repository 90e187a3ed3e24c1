#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/mutex.h"
#include "base/per_core.h"
#include "base/ref.h"
#include "base/servable_ref.h"
#include "router/blame.h"
#include "router/call_window.h"
#include "router/endpoint.h"
#include "router/hedging.h"
#include "router/live_policy.h"
#include "router/policies/policy.h"
#include "router/portal_metrics.h"
#include "router/replica.h"
#include "router/replica_status.h"
#include "router/retry_budget.h"
#include "router/revision.h"

namespace portico {

/// The replicas of one target (name and digest), and which of them takes the next call. Thread-safe; lives as long as
/// the router. Calls read the list of their core, so that they wait for nobody, SetMembers() least of all.
class ReplicaSet {
 public:
  /// One node that serves the target.
  struct Member {
    std::shared_ptr<Endpoint> endpoint;
    /// Candidate::distance.
    int distance = 0;
    RevisionSpan revisions;
  };

  /// Without members at first. `balance` is not owned and must outlive the set.
  ReplicaSet(ServableRef target, const BalancePolicy& balance, const RoutePolicy& policy, MetricRegistry& metrics);

  /// Calls that begin from now on go by this one; what is known of the replicas stays, and so do calls in flight.
  void SetPolicy(const RoutePolicy& policy, const BalancePolicy& balance);

  /// Calls go to these from now on. Replicas that stay keep what was learned of them; those that are taken out finish
  /// the calls they have. One at a time.
  void SetMembers(const std::vector<Member>& members);

  /// Connected replicas first; else one that was never connected; else null. Of the connected ones not those that are
  /// put aside, unless they are more than half: then it is not the replicas that are at fault; and those that were
  /// connected to of late by their growing share, while there are others. Never one of `tried`. `random`: a uniform
  /// draw. `key`: Draw::key, where needs_key(). `revision`: of the request, 0 where it has none: those that answer
  /// it, or any where there are none.
  Ref<Replica> Pick(absl::Time now, uint64_t random, absl::Span<Replica* const> tried = {}, uint64_t key = 0,
                    uint64_t revision = 0);
  bool needs_key() const { return policy_.Get().balance->needs_key(); }
  /// OK where a connected replica could take a call; else UNAVAILABLE, naming endpoints and their state.
  absl::Status Health(absl::Time now);
  /// The same message, whatever the state is: for a call that found no replica.
  absl::Status Unavailable() const;

  /// Adds a line for each replica.
  void AddStatus(absl::Time now, std::vector<ReplicaStatus>* all) {
    const auto add = [&](const auto& replicas) {
      for (const auto& replica : replicas) all->push_back(replica->Status(target_, now));
    };
    // Members are fixed, or a snapshot.
    const auto add_members = [&](auto& set) {
      if constexpr (requires { set.Snapshot(); }) {
        add(*set.Snapshot());
      } else {
        add(set.replicas_);
      }
    };
    add_members(*this);
  }

  const ServableRef& target() const { return target_; }
  /// As it is now; the reference lives as long as the set.
  const RoutePolicy& policy() const { return policy_.policy(); }
  size_t size() const { return size_.load(std::memory_order_relaxed); }
  RetryBudget& retry_budget() { return retry_budget_; }
  Hedging& hedging() { return hedging_; }
  CallWindow& window() { return window_; }
  PortalMetrics& metrics() { return metrics_; }

 private:
  using Replicas = std::vector<Ref<Replica>>;
  struct Copy {
    Mutex mutex;
    std::shared_ptr<const Replicas> replicas ABSL_GUARDED_BY(mutex) = std::make_shared<const Replicas>();
  };

  /// What may be picked for one call.
  struct Wanted {
    absl::Span<Replica* const> tried;
    uint64_t revision = 0;

    bool Allows(const Replica& replica) const;
  };
  Ref<Replica> PickFrom(const Replicas& replicas, absl::Time now, const Draw& draw, const Wanted& wanted);
  /// Once in a while: puts replicas aside that are much slower than the others, and says how all are.
  void Review(const Replicas& replicas, absl::Time now);
  std::shared_ptr<const Replicas> Snapshot() const;

  const ServableRef target_;
  LivePolicy policy_;
  RetryBudget retry_budget_;
  Hedging hedging_;
  CallWindow window_;
  PortalMetrics metrics_;
  const PerCore<Copy> copies_;
  std::atomic<size_t> size_{0};
  std::atomic<uint64_t> turns_{0};
  std::atomic<int64_t> review_at_us_{0};
};

}  // namespace portico
