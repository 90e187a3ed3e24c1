#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace portico {

/// An exact version, and what the mesh file calls it: "2", "canary" (a label) or "digit-v2" (another model).
struct TrafficTarget {
  std::string name;
  std::string model;
  int64_t version = 0;
  /// Whether both mean the same version, whatever they are called.
  friend bool operator==(const TrafficTarget& a, const TrafficTarget& b) {
    return a.model == b.model && a.version == b.version;
  }
};

/// Who gets copies of requests; answers are compared and thrown away.
struct TrafficShadow {
  TrafficTarget to;
  double percent = 100;
  /// Copies under way from one node, and the bytes that they hold; more are dropped.
  int max_in_flight = 32;
  int max_mib = 64;
  absl::Duration timeout = absl::Seconds(1);
  /// Floating point may differ by so much, absolutely or relative to the answer. 0: rows of several are compared by
  /// their largest element, single ones by 0.001.
  double tolerance = 0;
  friend bool operator==(const TrafficShadow&, const TrafficShadow&) = default;
};

/// An arm that grows by itself. Only who writes revisions reads it; nodes go by the weights.
struct TrafficRamp {
  enum class State { kRunning, kDone, kRolledBack, kStopped };
  TrafficTarget to;
  /// Percent, rising.
  std::vector<double> steps;
  absl::Duration every = absl::Minutes(10);
  /// Requests that the arm must have had before it is judged.
  int min_requests = 100;
  /// What ends it: errors per hundred beyond the other arms', times their 99th percentile, disagreements per hundred
  /// copies. 0: not looked at.
  double error_percent = 1;
  double p99_times = 1.5;
  double disagreement_percent = 0;

  /// Which of `steps` it has reached, how it stands, and why it has ended.
  size_t step = 0;
  State state = State::kRunning;
  std::string why;

  /// Whether both say the same, however far each has come.
  bool SameAs(const TrafficRamp& other) const;
};

/// How requests that name a model, and no version of it, are spread; an entry of `traffic:` in mesh.yaml
/// (docs/traffic.md). A value; part of a revision, with exact versions.
struct TrafficSplit {
  /// What a request sticks to its arm by. Where it has none of that, its draw.
  enum class By { kKey, kTenant, kRandom };
  using Target = TrafficTarget;
  using Shadow = TrafficShadow;
  using Ramp = TrafficRamp;
  struct Arm {
    Target target;
    /// Relative to the others': now, and as the mesh file says it without a ramp.
    double weight = 0;
    double base = 0;
    friend bool operator==(const Arm&, const Arm&) = default;
  };

  By by = By::kKey;
  std::vector<Arm> arms;
  std::optional<Shadow> shadow;
  std::optional<Ramp> ramp;
};

absl::string_view TrafficByName(TrafficSplit::By by);
absl::string_view RampStateName(TrafficSplit::Ramp::State state);

/// Sets the arms' weights to what the ramp's step and state say; without a ramp, to their base.
void ApplyRamp(TrafficSplit* split);
/// The share of all requests that the arm gets, in percent.
double PercentOf(const TrafficSplit& split, const std::string& arm);

}  // namespace portico
