#include "router/replica_set.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace portico {
namespace {

/// Weight of the newest sample.
constexpr double kGain = 0.2;
/// What was learned this long ago counts half, so that a replica that was slow once is tried again.
constexpr double kForgetSeconds = 10;
/// A failure counts as an answer at least this slow: failing fast must not attract calls.
constexpr absl::Duration kFailurePenalty = absl::Milliseconds(100);

}  // namespace

Standing Replica::StandingFor(const ServableRef& wanted) {
  const uint64_t version = endpoint_.version();
  uint64_t known = standing_.load(std::memory_order_acquire);
  if (known >> 2 != version) {
    known = version << 2 | static_cast<uint64_t>(endpoint_.StandingFor(wanted));
    standing_.store(known, std::memory_order_release);
  }
  return static_cast<Standing>(known & 3);
}

Candidate Replica::AsCandidate(absl::Time now) const {
  Candidate candidate;
  candidate.in_flight = endpoint_.in_flight().load(std::memory_order_relaxed);
  const double latency = latency_.load(std::memory_order_relaxed);
  const int64_t age_us = absl::ToUnixMicros(now) - learned_at_us_.load(std::memory_order_relaxed);
  candidate.latency_seconds =
      latency * std::exp2(-1e-6 / kForgetSeconds * static_cast<double>(std::max<int64_t>(age_us, 0)));
  return candidate;
}

void Replica::Learn(absl::Time now, absl::Duration latency, bool failed) {
  const double sample = absl::ToDoubleSeconds(failed ? std::max(latency, kFailurePenalty) : latency);
  double old = latency_.load(std::memory_order_relaxed);
  // Where another thread is first, this sample is dropped: there are plenty.
  latency_.compare_exchange_strong(old, old == 0 ? sample : old + kGain * (sample - old), std::memory_order_relaxed);
  learned_at_us_.store(absl::ToUnixMicros(now), std::memory_order_relaxed);
}

ReplicaSet::ReplicaSet(ServableRef target, const std::vector<Endpoint*>& endpoints, const BalancePolicy& policy,
                       absl::Duration timeout, MetricRegistry& metrics)
    : target_(std::move(target)), policy_(policy), timeout_(timeout), metrics_(metrics, target_.name) {
  replicas_.reserve(endpoints.size());
  for (Endpoint* endpoint : endpoints) replicas_.push_back(std::make_unique<Replica>(*endpoint));
}

Replica* ReplicaSet::Pick(absl::Time now, uint64_t random) {
  absl::InlinedVector<Candidate, 8> candidates;
  absl::InlinedVector<Replica*, 8> owners;
  for (const Standing wanted : {Standing::kHere, Standing::kUnknown}) {
    for (const std::unique_ptr<Replica>& replica : replicas_) {
      if (replica->StandingFor(target_) != wanted) continue;
      candidates.push_back(replica->AsCandidate(now));
      owners.push_back(replica.get());
    }
    if (!owners.empty()) return owners[policy_.Pick(candidates, random)];
  }
  return nullptr;
}

absl::Status ReplicaSet::Health() {
  for (const std::unique_ptr<Replica>& replica : replicas_) {
    if (replica->StandingFor(target_) == Standing::kHere) return absl::OkStatus();
  }
  return Unavailable();
}

absl::Status ReplicaSet::Unavailable() const {
  const std::string name = target_.ToString();
  if (replicas_.empty()) {
    return absl::UnavailableError(absl::StrCat(
        "portal to '", name, "': got no node that serves it, want at least one; add it to a node's 'serve'"));
  }
  return absl::UnavailableError(
      absl::StrCat("portal to '", name, "': got no connected replica that holds it, want one of ",
                   absl::StrJoin(replicas_, ", ", [this](std::string* out, const std::unique_ptr<Replica>& replica) {
                     absl::StrAppend(out, replica->endpoint().Describe(target_));
                   })));
}

}  // namespace portico
