#include "router/traffic.h"

namespace portico {

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

}  // namespace portico
