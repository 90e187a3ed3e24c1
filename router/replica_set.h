#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/servable_ref.h"
#include "router/endpoint.h"
#include "router/policies/policy.h"
#include "router/portal_metrics.h"

namespace portico {

/// One of the nodes that serve a target, as calls to this target see it. Thread-safe, lock-free but for the first call
/// after a change.
class Replica {
 public:
  explicit Replica(Endpoint& endpoint) : endpoint_(endpoint) {}

  Endpoint& endpoint() const { return endpoint_; }
  Standing StandingFor(const ServableRef& wanted);
  Candidate AsCandidate(absl::Time now) const;
  /// A call that ended `now` told how fast the replica is, or that it fails.
  void Learn(absl::Time now, absl::Duration latency, bool failed);

 private:
  Endpoint& endpoint_;
  /// Endpoint's version << 2 | Standing, so that both change together.
  std::atomic<uint64_t> standing_{0};
  /// Exponentially weighted, in seconds; 0: unknown.
  std::atomic<double> latency_{0};
  std::atomic<int64_t> learned_at_us_{0};
};

/// The replicas of one target (name and digest), and which of them takes the next call. Thread-safe; never changes its
/// members; lives as long as the router.
class ReplicaSet {
 public:
  /// `policy` is not owned and must outlive the set. `timeout`: of the target's policy; zero: none.
  ReplicaSet(ServableRef target, const std::vector<Endpoint*>& endpoints, const BalancePolicy& policy,
             absl::Duration timeout, MetricRegistry& metrics);

  /// Connected replicas first; else one that was never connected; else null. `random`: a uniform draw.
  Replica* Pick(absl::Time now, uint64_t random);
  /// OK where a connected replica could take a call; else UNAVAILABLE, naming endpoints and their state.
  absl::Status Health();
  /// The same message, whatever the state is: for a call that found no replica.
  absl::Status Unavailable() const;

  const ServableRef& target() const { return target_; }
  absl::Duration timeout() const { return timeout_; }
  PortalMetrics& metrics() { return metrics_; }

 private:
  const ServableRef target_;
  const BalancePolicy& policy_;
  const absl::Duration timeout_;
  PortalMetrics metrics_;
  std::vector<std::unique_ptr<Replica>> replicas_;
};

}  // namespace portico
