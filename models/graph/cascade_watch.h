#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace onnx {
class NodeProto;
}

namespace portico {

/// What a node `Cascade` says of how it is watched while it serves, and of what it may do when its full model has too
/// much to do (docs/cascade.md). All of it is off by default. Attributes, as the node has them:
///
///   audit                        float, 0 to 1: share of the rows that do not escalate of which the full model is
///   asked
///                                in the shadow
///   audit_max_in_flight          int: such calls at once
///   audit_timeout_ms             int: when one is given up
///   agreement_outputs            strings, of output_names: the answers that are compared; none: all
///   agreement_tolerance          float: as `tolerance` of a shadow (docs/mesh_yaml.md)
///   expected_escalated, expected_agreement                float, 0 to 1: as tuned; -1: not known
///   expected_escalated_within, expected_agreement_within  float: how far from that is no drift
///   expected_over_ms             int: the window in which they are measured
///   brown_out_max_shed           float, 0 to 1: share of the rows that escalate which may keep the cheap answer while
///                                the full model is overloaded. The node then has one input more, the last: float[N],
///                                how much each row needs the full model
///   brown_out_slower_than_ms     int: calls that take longer count as overload; 0: none does
struct CascadeWatch {
  double audit = 0;
  int64_t audit_max_in_flight = 4;
  absl::Duration audit_timeout = absl::Seconds(1);
  std::vector<std::string> agreement_outputs;
  double agreement_tolerance = 0;
  double expected_escalated = -1;
  double expected_agreement = -1;
  /// Below 0: see EscalatedWithin().
  double expected_escalated_within = -1;
  double expected_agreement_within = kAgreementWithin;
  absl::Duration expected_over = absl::Minutes(10);
  double max_shed = 0;
  absl::Duration slower_than = absl::ZeroDuration();

  static constexpr double kAgreementWithin = 0.005;
  static constexpr int64_t kMaxInFlight = 1024;
  static constexpr absl::Duration kMaxTime = absl::Hours(24);

  /// As declared, or a quarter of what is expected, but 0.01 at least.
  double EscalatedWithin() const;
  bool expects() const { return expected_escalated >= 0 || expected_agreement >= 0; }
  bool browns_out() const { return max_shed > 0; }
  /// Whether there is anything to do.
  bool on() const { return audit > 0 || expects() || browns_out(); }
  /// INVALID_ARGUMENT for what is out of bounds or makes no sense together.
  absl::Status Check() const;

  friend bool operator==(const CascadeWatch&, const CascadeWatch&) = default;
};

/// What the node says. INVALID_ARGUMENT, naming the attribute. `agreement_outputs` are held against the node's
/// `output_names`.
absl::StatusOr<CascadeWatch> ReadCascadeWatch(const onnx::NodeProto& node);

}  // namespace portico
