#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace YAML {
class Emitter;
}

namespace portico {

class YamlNode;

/// When a second replica is asked while the first one has not answered yet. A value.
struct HedgePolicy {
  /// After so long; infinite: never, unless `percentile` says when.
  absl::Duration after = absl::InfiniteDuration();
  /// After the time in which so many of a hundred recent calls to the target were answered; 0: `after` counts.
  int percentile = 0;
  /// Hedges per hundred calls, in the long run; 0: none.
  int percent = 5;

  bool on() const { return percent > 0 && (percentile > 0 || after < absl::InfiniteDuration()); }
  friend bool operator==(const HedgePolicy&, const HedgePolicy&) = default;
};

/// Reads `hedge_after` ("20ms", "p95", "off") and `hedge_percent` of a policy, where they are there. INVALID_ARGUMENT
/// with file, line and `subject` for anything else.
absl::Status ReadHedgePolicy(const YamlNode& from, absl::string_view subject, HedgePolicy* hedge);
/// Writes both keys into a map.
void Emit(const HedgePolicy& hedge, YAML::Emitter& out);

}  // namespace portico
