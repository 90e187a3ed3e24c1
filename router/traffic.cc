#include "router/traffic.h"

#include <cmath>
#include <limits>

#include "router/stable_hash.h"

namespace portico {
namespace {

/// Which requests are copied has nothing to do with which arm they have.
constexpr uint64_t kShadowSalt = 0x5368'6164'6f77'2121;
/// Percent are told apart to the thousandth.
constexpr uint64_t kParts = 100'000;

}  // namespace

bool TrafficRamp::SameAs(const TrafficRamp& other) const {
  return to == other.to && steps == other.steps && every == other.every && min_requests == other.min_requests &&
         error_percent == other.error_percent && p99_times == other.p99_times &&
         disagreement_percent == other.disagreement_percent;
}

absl::string_view TrafficByName(TrafficSplit::By by) {
  switch (by) {
    case TrafficSplit::By::kKey:
      return "key";
    case TrafficSplit::By::kTenant:
      return "tenant";
    case TrafficSplit::By::kRandom:
      return "random";
  }
  return "unknown";
}

absl::string_view RampStateName(TrafficSplit::Ramp::State state) {
  switch (state) {
    case TrafficSplit::Ramp::State::kRunning:
      return "running";
    case TrafficSplit::Ramp::State::kDone:
      return "done";
    case TrafficSplit::Ramp::State::kRolledBack:
      return "rolled_back";
    case TrafficSplit::Ramp::State::kStopped:
      return "stopped";
  }
  return "unknown";
}

void ApplyRamp(TrafficSplit* split) {
  for (TrafficSplit::Arm& arm : split->arms) arm.weight = arm.base;
  if (!split->ramp.has_value()) return;
  const TrafficSplit::Ramp& ramp = *split->ramp;
  const double percent = ramp.state == TrafficSplit::Ramp::State::kRolledBack ? 0 : ramp.steps[ramp.step];
  double others = 0;
  for (const TrafficSplit::Arm& arm : split->arms) others += arm.target == ramp.to ? 0 : arm.base;
  for (TrafficSplit::Arm& arm : split->arms) {
    arm.weight = arm.target == ramp.to ? percent : arm.base / others * (100 - percent);
  }
}

double PercentOf(const TrafficSplit& split, const std::string& arm) {
  double sum = 0, own = 0;
  for (const TrafficSplit::Arm& one : split.arms) {
    sum += one.weight;
    if (one.target.name == arm) own += one.weight;
  }
  return sum > 0 ? 100 * own / sum : 0;
}

uint64_t TrafficHash(absl::string_view model, TrafficSplit::By by, const RequestContext& context) {
  uint64_t own = context.draw;
  if (by == TrafficSplit::By::kKey && context.key != 0) own = context.key;
  if (by == TrafficSplit::By::kTenant && !context.tenant.empty()) own = StableHash(context.tenant);
  // Who is in one model's canary is not for that reason in another's.
  return MixBits(own + StableHash(model));
}

size_t PickArm(const TrafficSplit& split, uint64_t hash) {
  // A race: each arm's time is exponentially distributed with its weight for a rate, by a draw of its own. The first
  // one has the request: with a chance of its weight's share, and another weight changes nobody else's time.
  size_t first = 0;
  double best = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < split.arms.size(); ++i) {
    const TrafficSplit::Arm& arm = split.arms[i];
    if (arm.weight <= 0) continue;
    const uint64_t own = MixBits(hash ^ StableHash(arm.target.name));
    const double uniform = (static_cast<double>(own >> 11) + 0.5) * 0x1p-53;
    const double time = -std::log(uniform) / arm.weight;
    if (time < best) {
      best = time;
      first = i;
    }
  }
  return first;
}

bool DrawsShadow(absl::string_view model, const TrafficSplit::Shadow& shadow, const RequestContext& context) {
  if (shadow.percent >= 100) return true;
  const uint64_t draw = MixBits(context.draw ^ kShadowSalt ^ StableHash(model));
  return static_cast<double>(draw % kParts) < shadow.percent / 100 * static_cast<double>(kParts);
}

}  // namespace portico
