#include "deploy/ramps.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace portico {
namespace {

/// How often counts are looked at; nodes write them about twice a second.
constexpr absl::Duration kPeriod = absl::Milliseconds(500);
/// Differences of latency that are nobody's concern.
constexpr absl::Duration kLatencySlack = absl::Milliseconds(1);
/// A 99th percentile of fewer is that of its slowest one.
constexpr uint64_t kMinForP99 = 100;

void AddTo(const ArmCounts& more, ArmCounts* sum) {
  sum->requests += more.requests;
  sum->errors += more.errors;
  sum->compared += more.compared;
  sum->disagreed += more.disagreed;
  for (const auto& [bucket, count] : more.latencies) sum->latencies[bucket] += count;
}

/// `now` without what was there `before`.
ArmCounts Since(const ArmCounts& now, const ArmCounts& before) {
  ArmCounts since = now;
  since.requests -= std::min(before.requests, since.requests);
  since.errors -= std::min(before.errors, since.errors);
  since.compared -= std::min(before.compared, since.compared);
  since.disagreed -= std::min(before.disagreed, since.disagreed);
  for (const auto& [bucket, count] : before.latencies)
    since.latencies[bucket] -= std::min(count, since.latencies[bucket]);
  return since;
}

double Percent(uint64_t part, uint64_t of) {
  return of == 0 ? 0 : 100 * static_cast<double>(part) / static_cast<double>(of);
}

uint64_t Answered(const ArmCounts& counts) { return counts.requests - std::min(counts.errors, counts.requests); }

std::string Title(const std::string& model, const TrafficSplit::Ramp& ramp) {
  return absl::StrCat("ramp of '", model, "' to '", ramp.to.name, "'");
}

}  // namespace

RampJudgement Judge(const TrafficSplit::Ramp& ramp, const ArmCounts& arm, const ArmCounts& others) {
  const double errors = Percent(arm.errors, arm.requests), usual = Percent(others.errors, others.requests);
  const absl::Duration p99 = QuantileOf(arm.latencies, 0.99), usual_p99 = QuantileOf(others.latencies, 0.99);
  const double apart = Percent(arm.disagreed, arm.compared);
  const auto enough = static_cast<uint64_t>(ramp.min_requests);
  const std::string seen =
      absl::StrFormat("%d requests, %.2f %% errors (others %.2f %%), p99 %s (others %s)", arm.requests, errors, usual,
                      absl::FormatDuration(p99), absl::FormatDuration(usual_p99));
  if (ramp.error_percent > 0 && arm.requests >= enough && errors - usual > ramp.error_percent) {
    return {RampJudgement::Verdict::kBad,
            absl::StrFormat("got %.2f %% errors in %d requests, %.2f %% in the other arms' %d, want at most %g %% more",
                            errors, arm.requests, usual, others.requests, ramp.error_percent)};
  }
  if (ramp.p99_times > 0 && Answered(arm) >= std::max(enough, kMinForP99) && Answered(others) >= kMinForP99 &&
      p99 > usual_p99 * ramp.p99_times + kLatencySlack) {
    return {RampJudgement::Verdict::kBad,
            absl::StrFormat("got a p99 of %s, %s in the other arms, want at most %g times that",
                            absl::FormatDuration(p99), absl::FormatDuration(usual_p99), ramp.p99_times)};
  }
  if (ramp.disagreement_percent > 0 && arm.compared >= enough && apart > ramp.disagreement_percent) {
    return {RampJudgement::Verdict::kBad, absl::StrFormat("got %.2f %% of %d copies that disagree, want at most %g %%",
                                                          apart, arm.compared, ramp.disagreement_percent)};
  }
  if (arm.requests < enough) {
    return {RampJudgement::Verdict::kTooFew,
            absl::StrFormat("waits for requests: got %d, want %d", arm.requests, ramp.min_requests)};
  }
  // Where all requests go to the arm, nothing is left to compare with.
  const bool compares = ramp.disagreement_percent > 0 && ramp.steps[ramp.step] < 100;
  if (compares && arm.compared < enough) {
    return {RampJudgement::Verdict::kTooFew,
            absl::StrFormat("waits for copies that are compared: got %d, want %d", arm.compared, ramp.min_requests)};
  }
  return {RampJudgement::Verdict::kGood, seen};
}

void Ramps::Count(const std::string& model, const std::vector<NodeCounts>& nodes, bool first, Watch* watch) {
  for (const NodeCounts& node : nodes) {
    for (const ArmCounts& arm : node.arms) {
      if (arm.model != model) continue;
      const auto [entry, added] = watch->seen.try_emplace({node.node, arm.arm});
      Watch::Seen& seen = entry->second;
      // What a process counted before the step began is nothing to the step; one that has begun since has begun at
      // zero.
      const bool anew = added || seen.process != node.process;
      if (!(anew && first)) AddTo(anew ? arm : Since(arm, seen.last), &watch->sums[arm.arm]);
      seen = {node.process, arm};
    }
  }
}

std::optional<Revision> Ramps::Next(const Revision& current, const std::vector<NodeCounts>& nodes, absl::Time now) {
  std::optional<Revision> next;
  for (const auto& [model, split] : current.traffic) {
    if (!split.ramp.has_value() || split.ramp->state != TrafficSplit::Ramp::State::kRunning) {
      watches_.erase(model);
      continue;
    }
    const TrafficSplit::Ramp& ramp = *split.ramp;
    Watch& watch = watches_[model];
    const bool begins = !watch.ramp.SameAs(ramp) || watch.ramp.step != ramp.step;
    if (begins) {
      if (watch.ramp.step == 0 || !watch.ramp.SameAs(ramp)) others_before_.erase(model);
      watch = Watch();
      watch.ramp = ramp;
      watch.since = now;
      news_.push_back(absl::StrFormat("%s: %g %% (step %d of %d)", Title(model, ramp), ramp.steps[ramp.step],
                                      ramp.step + 1, ramp.steps.size()));
    }
    Count(model, nodes, begins, &watch);
    ArmCounts arm, others;
    for (const auto& [name, sum] : watch.sums) AddTo(sum, name == ramp.to.name ? &arm : &others);
    const bool alone = ramp.steps[ramp.step] >= 100;
    if (alone) {
      if (const auto before = others_before_.find(model); before != others_before_.end()) others = before->second;
    }
    const RampJudgement judgement = Judge(ramp, arm, others);
    const bool bad = judgement.verdict == RampJudgement::Verdict::kBad;
    if (!bad && now < watch.since + ramp.every) continue;
    if (judgement.verdict == RampJudgement::Verdict::kTooFew) {
      if (!std::exchange(watch.said_it_waits, true)) {
        news_.push_back(absl::StrFormat("%s: %g %%: %s", Title(model, ramp), ramp.steps[ramp.step], judgement.why));
      }
      continue;
    }
    if (!next.has_value()) {
      next = current;
      next->reason.clear();
    }
    TrafficSplit& changed = next->traffic[model];
    std::string reason;
    if (bad) {
      changed.ramp->state = TrafficSplit::Ramp::State::kRolledBack;
      changed.ramp->why = judgement.why;
      reason =
          absl::StrFormat("%s is rolled back at %g %%: %s", Title(model, ramp), ramp.steps[ramp.step], judgement.why);
    } else if (ramp.step + 1 == ramp.steps.size()) {
      changed.ramp->state = TrafficSplit::Ramp::State::kDone;
      changed.ramp->why = judgement.why;
      reason = absl::StrFormat("%s is done at %g %%: %s", Title(model, ramp), ramp.steps[ramp.step], judgement.why);
    } else {
      ++changed.ramp->step;
      if (!alone) others_before_[model] = others;
      reason = absl::StrFormat("%s goes from %g %% to %g %%: %s", Title(model, ramp), ramp.steps[ramp.step],
                               ramp.steps[ramp.step + 1], judgement.why);
    }
    ApplyRamp(&changed);
    absl::StrAppend(&next->reason, next->reason.empty() ? "" : "; ", reason);
  }
  return next;
}

absl::Time Ramps::Wake(const Revision& current, absl::Time now) {
  for (const auto& [model, split] : current.traffic) {
    if (split.ramp.has_value() && split.ramp->state == TrafficSplit::Ramp::State::kRunning) return now + kPeriod;
  }
  return absl::InfiniteFuture();
}

std::vector<std::string> Ramps::TakeNews() { return std::exchange(news_, {}); }

void StopRamps(const std::string& why, Revision* revision) {
  for (auto& [model, split] : revision->traffic) {
    if (!split.ramp.has_value() || split.ramp->state != TrafficSplit::Ramp::State::kRunning) continue;
    split.ramp->state = TrafficSplit::Ramp::State::kStopped;
    split.ramp->why = why;
  }
}

}  // namespace portico
