#include "router/replica_set.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/algorithm/container.h"
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
/// A replica that keeps failing is put aside for at most 2^5 times as long as the first time.
constexpr int kMaxDoublings = 5;

}  // namespace

Standing Replica::StandingFor(const ServableRef& wanted) {
  const uint64_t version = endpoint_->version();
  uint64_t known = standing_.load(std::memory_order_acquire);
  if (known >> 2 != version) {
    known = version << 2 | static_cast<uint64_t>(endpoint_->StandingFor(wanted));
    standing_.store(known, std::memory_order_release);
  }
  return static_cast<Standing>(known & 3);
}

Candidate Replica::AsCandidate(absl::Time now) const {
  Candidate candidate;
  candidate.in_flight = endpoint_->in_flight().load(std::memory_order_relaxed);
  const double latency = latency_.load(std::memory_order_relaxed);
  const int64_t age_us = absl::ToUnixMicros(now) - learned_at_us_.load(std::memory_order_relaxed);
  candidate.latency_seconds =
      latency * std::exp2(-1e-6 / kForgetSeconds * static_cast<double>(std::max<int64_t>(age_us, 0)));
  return candidate;
}

ReplicaStatus Replica::Status(const ServableRef& wanted, absl::Time now) {
  ReplicaStatus status;
  status.target = wanted.name;
  status.digest = wanted.digest.empty() ? "" : wanted.digest.Short();
  status.endpoint = endpoint().url();
  status.node = endpoint().node();
  status.standing = StandingFor(wanted);
  status.in_flight = endpoint().in_flight().load(std::memory_order_relaxed);
  status.answers = answers_.Read();
  status.failures = failures_.load(std::memory_order_relaxed);
  status.ejections = all_ejections_.load(std::memory_order_relaxed);
  const absl::Time until = absl::FromUnixMicros(ejected_until_us_.load(std::memory_order_relaxed));
  status.ejected_for = std::max(until - now, absl::ZeroDuration());
  return status;
}

bool Replica::Learn(absl::Time now, absl::Duration latency, Blame blame) {
  answers_.Add(latency);
  const bool failed = blame == Blame::kBusy || blame == Blame::kFault;
  if (failed) failures_.fetch_add(1, std::memory_order_relaxed);
  if (blame == Blame::kRequest) return false;
  const double sample = absl::ToDoubleSeconds(failed ? std::max(latency, kFailurePenalty) : latency);
  double old = latency_.load(std::memory_order_relaxed);
  // Where another thread is first, this sample is dropped: there are plenty.
  latency_.compare_exchange_strong(old, old == 0 ? sample : old + kGain * (sample - old), std::memory_order_relaxed);
  learned_at_us_.store(absl::ToUnixMicros(now), std::memory_order_relaxed);
  if (blame == Blame::kFault) return CountFault(now);
  if (blame == Blame::kOutrun) return false;  // It did not answer: that clears it of nothing.
  // Mostly zero already: written only where it changes, so that the line stays shared.
  if (faults_in_a_row_.load(std::memory_order_relaxed) != 0) faults_in_a_row_.store(0, std::memory_order_relaxed);
  if (blame == Blame::kNone && ejections_.load(std::memory_order_relaxed) != 0 && !Ejected(now)) {
    ejections_.store(0, std::memory_order_relaxed);
  }
  return false;
}

bool Replica::CountFault(absl::Time now) {
  // Of the calls that were out when it was put aside each tells the same.
  if (policy_.eject_after == 0 || Ejected(now)) return false;
  if (faults_in_a_row_.fetch_add(1, std::memory_order_relaxed) + 1 < policy_.eject_after) return false;
  all_ejections_.fetch_add(1, std::memory_order_relaxed);
  const int before = ejections_.fetch_add(1, std::memory_order_relaxed);
  const absl::Duration time = policy_.eject_for * (int64_t{1} << std::min(before, kMaxDoublings));
  ejected_until_us_.store(absl::ToUnixMicros(now + time), std::memory_order_relaxed);
  // When it comes back, its first answer decides.
  faults_in_a_row_.store(policy_.eject_after - 1, std::memory_order_relaxed);
  return true;
}

ReplicaSet::ReplicaSet(ServableRef target, const BalancePolicy& balance, const RoutePolicy& policy,
                       MetricRegistry& metrics)
    : target_(std::move(target)),
      balance_(balance),
      policy_(policy),
      // At once: all that one peer can have in flight, for when it is lost.
      retry_budget_(policy.retry_percent, ChannelOptions().max_calls),
      hedging_(policy.hedge),
      metrics_(metrics, target_.name) {}

void ReplicaSet::SetMembers(const std::vector<Member>& members) {
  const std::shared_ptr<const Replicas> before = Snapshot();
  const auto replica_of = [](const Replicas& replicas, const Endpoint* endpoint) -> Ref<Replica> {
    for (const Ref<Replica>& replica : replicas) {
      if (&replica->endpoint() == endpoint) return replica;
    }
    return nullptr;
  };
  auto after = std::make_shared<Replicas>();
  for (const Member& member : members) {
    if (replica_of(*after, member.endpoint.get())) continue;
    Ref<Replica> replica = replica_of(*before, member.endpoint.get());
    after->push_back(replica ? std::move(replica) : MakeRef<Replica>(member.endpoint, policy_));
  }
  size_.store(after->size(), std::memory_order_relaxed);
  for (int i = 0; i < copies_.size(); ++i) {
    std::shared_ptr<const Replicas> next = after;  // What it was goes after the lock.
    MutexLock lock(&copies_[i].mutex);
    copies_[i].replicas.swap(next);
  }
}

std::shared_ptr<const ReplicaSet::Replicas> ReplicaSet::Snapshot() const {
  Copy& copy = copies_.Own();
  MutexLock lock(&copy.mutex);
  return copy.replicas;
}

Ref<Replica> ReplicaSet::Pick(absl::Time now, uint64_t random, absl::Span<Replica* const> tried) {
  Copy& copy = copies_.Own();
  MutexLock lock(&copy.mutex);
  return PickFrom(*copy.replicas, now, random, tried);
}

Ref<Replica> ReplicaSet::PickFrom(const Replicas& replicas, absl::Time now, uint64_t random,
                                  absl::Span<Replica* const> tried) {
  absl::InlinedVector<Candidate, 8> candidates;
  absl::InlinedVector<Replica*, 8> owners;
  for (const Standing wanted : {Standing::kHere, Standing::kUnknown}) {
    size_t ejected = 0, standing = 0;
    for (const Ref<Replica>& replica : replicas) {
      if (replica->StandingFor(target_) != wanted) continue;
      ++standing;
      ejected += replica->Ejected(now);
    }
    const bool heed = 2 * ejected <= standing;
    for (const Ref<Replica>& replica : replicas) {
      if (replica->StandingFor(target_) != wanted || (heed && replica->Ejected(now))) continue;
      if (absl::c_linear_search(tried, replica.get())) continue;
      candidates.push_back(replica->AsCandidate(now));
      owners.push_back(replica.get());
    }
    if (!owners.empty()) return Ref<Replica>(owners[balance_.Pick(candidates, random)]);
  }
  return nullptr;
}

absl::Status ReplicaSet::Health() {
  const std::shared_ptr<const Replicas> replicas = Snapshot();
  for (const Ref<Replica>& replica : *replicas) {
    if (replica->StandingFor(target_) == Standing::kHere) return absl::OkStatus();
  }
  return Unavailable();
}

absl::Status ReplicaSet::Unavailable() const {
  const std::string name = target_.ToString();
  const std::shared_ptr<const Replicas> replicas = Snapshot();
  if (replicas->empty()) {
    return absl::UnavailableError(absl::StrCat(
        "portal to '", name, "': got no node that serves it, want at least one; add it to a node's 'serve'"));
  }
  return absl::UnavailableError(
      absl::StrCat("portal to '", name, "': got no connected replica that holds it, want one of ",
                   absl::StrJoin(*replicas, ", ", [this](std::string* out, const Ref<Replica>& replica) {
                     absl::StrAppend(out, replica->endpoint().Describe(target_));
                   })));
}

}  // namespace portico
