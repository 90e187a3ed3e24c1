#include "router/replica_set.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "router/stable_hash.h"

namespace portico {
namespace {

/// How often latencies are compared.
constexpr absl::Duration kReview = absl::Milliseconds(100);
/// A replica that is slower by less than this is as fast as the others.
constexpr double kNoticeableSeconds = 0.002;

}  // namespace

ReplicaSet::ReplicaSet(ServableRef target, const BalancePolicy& balance, const RoutePolicy& policy,
                       MetricRegistry& metrics)
    : target_(std::move(target)),
      policy_(policy, balance),
      // At once: all that one peer can have in flight, for when it is lost.
      retry_budget_(policy.retry_percent, ChannelOptions().max_calls),
      hedging_(policy_),
      metrics_(metrics, target_.name) {}

void ReplicaSet::SetPolicy(const RoutePolicy& policy, const BalancePolicy& balance) {
  policy_.Set(policy, balance);
  retry_budget_.SetPercent(policy.retry_percent);
  hedging_.OnPolicy();
}

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
    if (!replica) replica = MakeRef<Replica>(member.endpoint, member.distance, policy_);
    replica->set_distance(member.distance);
    replica->set_revisions(member.revisions);
    after->push_back(std::move(replica));
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

Ref<Replica> ReplicaSet::Pick(absl::Time now, uint64_t random, absl::Span<Replica* const> tried, uint64_t key,
                              uint64_t revision) {
  Draw draw;
  draw.random = random;
  draw.key = key;
  if (policy_.Get().balance->needs_turn()) draw.turn = turns_.fetch_add(1, std::memory_order_relaxed);
  Copy& copy = copies_.Own();
  MutexLock lock(&copy.mutex);
  int64_t review_at_us = review_at_us_.load(std::memory_order_relaxed);
  if (absl::ToUnixMicros(now) >= review_at_us &&
      review_at_us_.compare_exchange_strong(review_at_us, absl::ToUnixMicros(now + kReview),
                                            std::memory_order_relaxed)) {
    Review(*copy.replicas, now);
  }
  Ref<Replica> picked = PickFrom(*copy.replicas, now, draw, {tried, revision});
  if (picked || revision == 0) return picked;
  return PickFrom(*copy.replicas, now, draw, {tried, 0});
}

bool ReplicaSet::Wanted::Allows(const Replica& replica) const {
  return !absl::c_linear_search(tried, &replica) && replica.revisions().Has(revision);
}

Ref<Replica> ReplicaSet::PickFrom(const Replicas& replicas, absl::Time now, const Draw& draw, const Wanted& wanted) {
  /// A replica as it was found. Each is looked at once: what changes between two looks could leave none.
  struct Found {
    Replica* replica;
    bool aside;
    bool allowed;
    double warmth;
  };
  const absl::Duration slow_start = policy().slow_start;
  absl::InlinedVector<Found, 8> all;
  absl::InlinedVector<Candidate, 8> candidates;
  absl::InlinedVector<Replica*, 8> owners;
  for (const Standing at_least : {Standing::kHere, Standing::kUnknown}) {
    size_t ejected = 0;
    bool any_warm = false;
    all.clear();
    for (const Ref<Replica>& replica : replicas) {
      // One may have come meanwhile that was not there at the first look.
      if (replica->StandingFor(target_, now) < at_least) continue;
      const Found found{replica.get(), replica->Ejected(now), wanted.Allows(*replica),
                        replica->Warmth(now, slow_start)};
      ejected += found.aside;
      any_warm = any_warm || (!found.aside && found.allowed && found.warmth == 1);
      all.push_back(found);
    }
    const bool heed = 2 * ejected <= all.size();
    for (const Found& found : all) {
      if (!found.allowed || (heed && found.aside)) continue;
      const Candidate candidate = found.replica->AsCandidate(now);
      if (any_warm && at_least == Standing::kHere) {
        const double drawn = static_cast<double>(MixBits(draw.random + candidate.hash) >> 11) * 0x1p-53;
        if (drawn >= found.warmth) continue;
      }
      candidates.push_back(candidate);
      owners.push_back(found.replica);
    }
    if (!owners.empty()) return Ref<Replica>(owners[policy_.Get().balance->Pick(candidates, draw)]);
  }
  return nullptr;
}

void ReplicaSet::Review(const Replicas& replicas, absl::Time now) {
  size_t here = 0, aside = 0;
  absl::InlinedVector<std::pair<double, Replica*>, 8> latencies;
  for (const Ref<Replica>& replica : replicas) {
    if (replica->StandingFor(target_, now) != Standing::kHere) continue;
    if (replica->Ejected(now)) {
      ++aside;
      continue;
    }
    ++here;
    const double latency = replica->SettledLatency();
    if (latency > 0) latencies.emplace_back(latency, replica.get());
  }
  const int eject_slower = policy().eject_slower;
  if (eject_slower > 0 && latencies.size() > 1) {
    std::sort(latencies.begin(), latencies.end());
    // Of the others: without the slowest itself.
    const double median = latencies[(latencies.size() - 2) / 2].first;
    const auto [slowest, replica] = latencies.back();
    if (slowest > eject_slower * median && slowest > median + kNoticeableSeconds) {
      replica->Eject(now);
      metrics_.Ejected();
      --here;
      ++aside;
    }
  }
  metrics_.SetReplicas(here, aside, replicas.size() - here - aside);
}

absl::Status ReplicaSet::Health(absl::Time now) {
  const std::shared_ptr<const Replicas> replicas = Snapshot();
  for (const Ref<Replica>& replica : *replicas) {
    if (replica->StandingFor(target_, now) == Standing::kHere) return absl::OkStatus();
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
