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
#include "router/policies/policy.h"
#include "router/portal_metrics.h"
#include "router/replica_status.h"
#include "router/retry_budget.h"
#include "router/revision.h"

namespace portico {

/// One of the nodes that serve a target, as calls to this target see it. Thread-safe, lock-free but for the first call
/// after a change. Owned by the set while it is a member, and by calls in flight: those end as if nothing had happened
/// when it is taken out.
class Replica final : public RefCounted {
 public:
  /// `policy` is not owned and must outlive the replica.
  Replica(std::shared_ptr<Endpoint> endpoint, const RoutePolicy& policy)
      : endpoint_(std::move(endpoint)), policy_(policy) {}

  Endpoint& endpoint() const { return *endpoint_; }
  Standing StandingFor(const ServableRef& wanted);
  Candidate AsCandidate(absl::Time now) const;
  /// A call that ended `now` told how fast the replica is, or that it fails. True where that put it aside.
  bool Learn(absl::Time now, absl::Duration latency, Blame blame);
  /// Put aside, for faults in a row.
  bool Ejected(absl::Time now) const {
    return absl::ToUnixMicros(now) < ejected_until_us_.load(std::memory_order_relaxed);
  }
  /// For people and metrics.
  ReplicaStatus Status(const ServableRef& wanted, absl::Time now);

 private:
  bool CountFault(absl::Time now);

  const std::shared_ptr<Endpoint> endpoint_;
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
  /// Since the node started.
  LatencyCounts answers_;
  std::atomic<uint64_t> failures_{0};
  std::atomic<uint64_t> all_ejections_{0};
};

/// The replicas of one target (name and digest), and which of them takes the next call. Thread-safe; lives as long as
/// the router. Calls read the list of their core, so that they wait for nobody, SetMembers() least of all.
class ReplicaSet {
 public:
  /// One node that serves the target.
  struct Member {
    std::shared_ptr<Endpoint> endpoint;
    std::string zone;
  };

  /// Without members at first. `balance` and `policy` are not owned and must outlive the set.
  ReplicaSet(ServableRef target, const BalancePolicy& balance, const RoutePolicy& policy, MetricRegistry& metrics);

  /// Calls go to these from now on. Replicas that stay keep what was learned of them; those that are taken out finish
  /// the calls they have. One at a time.
  void SetMembers(const std::vector<Member>& members);

  /// Connected replicas first; else one that was never connected; else null. Of the connected ones not those that are
  /// put aside, unless they are more than half: then it is not the replicas that are at fault. Never one of `tried`.
  /// `random`: a uniform draw.
  Ref<Replica> Pick(absl::Time now, uint64_t random, absl::Span<Replica* const> tried = {});
  /// OK where a connected replica could take a call; else UNAVAILABLE, naming endpoints and their state.
  absl::Status Health();
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
  const RoutePolicy& policy() const { return policy_; }
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

  Ref<Replica> PickFrom(const Replicas& replicas, absl::Time now, uint64_t random, absl::Span<Replica* const> tried);
  std::shared_ptr<const Replicas> Snapshot() const;

  const ServableRef target_;
  const BalancePolicy& balance_;
  const RoutePolicy& policy_;
  RetryBudget retry_budget_;
  Hedging hedging_;
  CallWindow window_;
  PortalMetrics metrics_;
  const PerCore<Copy> copies_;
  std::atomic<size_t> size_{0};
};

}  // namespace portico
