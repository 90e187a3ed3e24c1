#include "router/replica.h"

#include <algorithm>
#include <cmath>

#include "router/stable_hash.h"

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
/// Answers after which a latency is compared with others'.
constexpr int kSettledSamples = 20;
/// Calls of a window, before their share of faults says something, and how long it lasts.
constexpr int kWindowCalls = 20;
constexpr absl::Duration kWindow = absl::Seconds(5);
/// How long others are preferred to a replica that had no room.
constexpr absl::Duration kFullFor = absl::Milliseconds(100);
/// Of a replica that has just been connected to: enough for its first answers.
constexpr double kLeastWarmth = 0.05;

}  // namespace

Replica::Replica(std::shared_ptr<Endpoint> endpoint, int distance, const LivePolicy& policy)
    : endpoint_(std::move(endpoint)), policy_(policy), hash_(StableHash(endpoint_->url())), distance_(distance) {}

Standing Replica::StandingFor(const ServableRef& wanted, absl::Time now) {
  const uint64_t version = endpoint_->version();
  uint64_t known = standing_.load(std::memory_order_acquire);
  if (known >> 2 != version) {
    const Standing before = static_cast<Standing>(known & 3);
    const Standing after = endpoint_->StandingFor(wanted);
    if (after == Standing::kHere && before != Standing::kHere) {
      here_since_us_.store(absl::ToUnixMicros(now), std::memory_order_relaxed);
    }
    known = version << 2 | static_cast<uint64_t>(after);
    standing_.store(known, std::memory_order_release);
  }
  return static_cast<Standing>(known & 3);
}

Candidate Replica::AsCandidate(absl::Time now) const {
  const int64_t now_us = absl::ToUnixMicros(now);
  Candidate candidate;
  candidate.in_flight = endpoint_->in_flight().load(std::memory_order_relaxed);
  const double latency = latency_.load(std::memory_order_relaxed);
  const int64_t age_us = now_us - learned_at_us_.load(std::memory_order_relaxed);
  candidate.latency_seconds =
      latency * std::exp2(-1e-6 / kForgetSeconds * static_cast<double>(std::max<int64_t>(age_us, 0)));
  candidate.hash = hash_;
  candidate.distance = distance_.load(std::memory_order_relaxed);
  candidate.full = now_us < full_until_us_.load(std::memory_order_relaxed);
  return candidate;
}

ReplicaStatus Replica::Status(const ServableRef& wanted, absl::Time now) {
  ReplicaStatus status;
  status.target = wanted.name;
  status.digest = wanted.digest.empty() ? "" : wanted.digest.Short();
  status.endpoint = endpoint().url();
  status.node = endpoint().node();
  status.revisions = revisions();
  status.standing = StandingFor(wanted, now);
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
  if (const int samples = samples_.load(std::memory_order_relaxed); samples < kSettledSamples) {
    samples_.store(samples + 1, std::memory_order_relaxed);
  }
  if (blame == Blame::kBusy) full_until_us_.store(absl::ToUnixMicros(now + kFullFor), std::memory_order_relaxed);
  if (blame == Blame::kFault) return CountFault(now, 2) || CountInWindow(now, true);
  // It did not answer: that clears it of nothing, and one that never does has stopped.
  if (blame == Blame::kOutrun) return CountFault(now, 1);
  // Mostly zero already: written only where it changes, so that the line stays shared.
  if (faults_in_a_row_.load(std::memory_order_relaxed) != 0) faults_in_a_row_.store(0, std::memory_order_relaxed);
  if (blame == Blame::kNone && ejections_.load(std::memory_order_relaxed) != 0 && !Ejected(now)) {
    ejections_.store(0, std::memory_order_relaxed);
  }
  return CountInWindow(now, false);
}

bool Replica::CountFault(absl::Time now, int halves) {
  // Of the calls that were out when it was put aside each tells the same.
  if (policy_.policy().eject_after == 0 || Ejected(now)) return false;
  if (faults_in_a_row_.fetch_add(halves, std::memory_order_relaxed) + halves < 2 * policy_.policy().eject_after)
    return false;
  Eject(now);
  return true;
}

bool Replica::CountInWindow(absl::Time now, bool fault) {
  if (policy_.policy().eject_error_percent == 0 || Ejected(now)) return false;
  const int64_t now_us = absl::ToUnixMicros(now);
  if (now_us >= window_ends_us_.load(std::memory_order_relaxed)) {
    window_ends_us_.store(absl::ToUnixMicros(now + kWindow), std::memory_order_relaxed);
    window_calls_.store(0, std::memory_order_relaxed);
    window_faults_.store(0, std::memory_order_relaxed);
  }
  const int calls = window_calls_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (!fault) return false;
  const int faults = window_faults_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (calls < kWindowCalls || int64_t{100} * faults < int64_t{policy_.policy().eject_error_percent} * calls)
    return false;
  Eject(now);
  return true;
}

void Replica::Eject(absl::Time now) {
  all_ejections_.fetch_add(1, std::memory_order_relaxed);
  const int before = ejections_.fetch_add(1, std::memory_order_relaxed);
  const absl::Duration time = policy_.policy().eject_for * (int64_t{1} << std::min(before, kMaxDoublings));
  // When it comes back, its first answer decides.
  faults_in_a_row_.store(std::max(0, 2 * policy_.policy().eject_after - 2), std::memory_order_relaxed);
  samples_.store(0, std::memory_order_relaxed);
  window_ends_us_.store(0, std::memory_order_relaxed);
  ejected_until_us_.store(absl::ToUnixMicros(now + time), std::memory_order_relaxed);
}

double Replica::SettledLatency() const {
  return samples_.load(std::memory_order_relaxed) < kSettledSamples ? 0 : latency_.load(std::memory_order_relaxed);
}

double Replica::Warmth(absl::Time now, absl::Duration slow_start) const {
  if (slow_start <= absl::ZeroDuration()) return 1;
  const int64_t age_us = absl::ToUnixMicros(now) - here_since_us_.load(std::memory_order_relaxed);
  const double part = static_cast<double>(age_us) / absl::ToDoubleMicroseconds(slow_start);
  return std::clamp(part, kLeastWarmth, 1.0);
}

}  // namespace portico
