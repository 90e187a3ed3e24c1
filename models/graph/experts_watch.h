#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace onnx {
class NodeProto;
}

namespace portico {

/// What a node `Experts` says of what its gate is expected to do (docs/experts.md). Off by default. Attributes:
///
///   expected_load            floats, one per expert: its share of the rows that are sent; together 1
///   expected_load_within     float: how far from its share an expert's load is no drift; -1: a quarter of it, but 0.01
///                            at least
///   expected_entropy         float, 0 to 1: the gates' mean entropy by its maximum; -1: not known
///   expected_entropy_within  float
///   expected_over_ms         int: the window in which they are measured
struct ExpertsWatch {
  /// Empty: not known.
  std::vector<float> load;
  double load_within = -1;
  double entropy = -1;
  double entropy_within = kEntropyWithin;
  absl::Duration over = absl::Minutes(10);

  static constexpr double kEntropyWithin = 0.05;
  static constexpr absl::Duration kMaxTime = absl::Hours(24);

  /// How far expert number `expert` may be from what is expected.
  double LoadWithin(size_t expert) const;
  bool on() const { return !load.empty() || entropy >= 0; }
  /// INVALID_ARGUMENT for what is out of bounds, or for another number of loads than of experts. `prefix`: what stands
  /// before "load" and the others where they were written.
  absl::Status Check(size_t experts, absl::string_view prefix = "expected_") const;

  friend bool operator==(const ExpertsWatch&, const ExpertsWatch&) = default;
};

/// What the node says. INVALID_ARGUMENT, naming the attribute.
absl::StatusOr<ExpertsWatch> ReadExpertsWatch(const onnx::NodeProto& node, size_t experts);

}  // namespace portico
