#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "base/ref.h"
#include "base/servable_ref.h"
#include "router/blame.h"
#include "router/endpoint.h"
#include "router/live_policy.h"
#include "router/policies/policy.h"
#include "router/replica_status.h"
#include "router/resolver.h"
#include "router/revision.h"

namespace portico {

/// One of the nodes that serve a target, as calls to this target see it. Thread-safe, lock-free but for the first call
/// after a change. Owned by the set while it is a member, and by calls in flight: those end as if nothing had happened
/// when it is taken out.
class Replica final : public RefCounted {
 public:
  /// `policy`: of its target; not owned, and must outlive the replica. `distance`: Candidate::distance.
  Replica(std::shared_ptr<Endpoint> endpoint, int distance, const LivePolicy& policy);

  Endpoint& endpoint() const { return *endpoint_; }
  Standing StandingFor(const ServableRef& wanted, absl::Time now);
  Candidate AsCandidate(absl::Time now) const;
  void set_distance(int distance) { distance_.store(distance, std::memory_order_relaxed); }
  /// Requests of which revisions it answers.
  RevisionSpan revisions() const {
    return {first_revision_.load(std::memory_order_relaxed), last_revision_.load(std::memory_order_relaxed)};
  }
  void set_revisions(const RevisionSpan& span) {
    first_revision_.store(span.first, std::memory_order_relaxed);
    last_revision_.store(span.last, std::memory_order_relaxed);
  }
  /// A call that ended `now` told how fast the replica is, or that it fails. True where that put it aside.
  bool Learn(absl::Time now, absl::Duration latency, Blame blame);
  /// Put aside, for faults or for being slow.
  bool Ejected(absl::Time now) const {
    return absl::ToUnixMicros(now) < ejected_until_us_.load(std::memory_order_relaxed);
  }
  /// For people and metrics.
  ReplicaStatus Status(const ServableRef& wanted, absl::Time now);
  /// Puts it aside; twice as long each time that it has not answered well between. Its latency has to settle again
  /// before it is compared.
  void Eject(absl::Time now);
  /// Smoothed, in seconds; 0 before so many answers that it is worth comparing.
  double SettledLatency() const;
  /// Which part of its share a replica that was connected to of late may take; 1: all of it.
  double Warmth(absl::Time now, absl::Duration slow_start) const;

 private:
  /// Counts a fault, or half of one, in a row. True where the replica was put aside for it.
  bool CountFault(absl::Time now, int halves);
  /// Counts an answer or a fault in the window. True where the replica was put aside for its share of faults.
  bool CountInWindow(absl::Time now, bool fault);

  const std::shared_ptr<Endpoint> endpoint_;
  const LivePolicy& policy_;
  const uint64_t hash_;
  std::atomic<int> distance_;
  std::atomic<uint64_t> first_revision_{0};
  std::atomic<uint64_t> last_revision_{UINT64_MAX};
  /// Endpoint's version << 2 | Standing, so that both change together.
  std::atomic<uint64_t> standing_{0};
  std::atomic<int64_t> here_since_us_{0};
  /// Exponentially weighted, in seconds; 0: unknown.
  std::atomic<double> latency_{0};
  std::atomic<int> samples_{0};
  std::atomic<int64_t> learned_at_us_{0};
  std::atomic<int64_t> full_until_us_{0};
  /// Halves of faults in a row.
  std::atomic<int> faults_in_a_row_{0};
  // What happened since the window began; threads that meet at its end may lose a count.
  std::atomic<int64_t> window_ends_us_{0};
  std::atomic<int> window_calls_{0};
  std::atomic<int> window_faults_{0};
  /// In a row, without an answer between.
  std::atomic<int> ejections_{0};
  std::atomic<int64_t> ejected_until_us_{0};
  /// Since the node started.
  LatencyCounts answers_;
  std::atomic<uint64_t> failures_{0};
  std::atomic<uint64_t> all_ejections_{0};
};

}  // namespace portico
