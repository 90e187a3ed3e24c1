#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace portico {

/// A part to cut out: what computes `outputs` from `inputs`.
///
/// plan.yaml (unknown keys refused with file and line):
///   product: digit                 # name of what remains; default: the model file's stem
///   parts:
///     - name: hub/digit-encoder    # servable name of the part
///       outputs: [features]        # tensors at which the part ends
///       inputs: [image]            # tensors at which it begins; default: as far back as the graph goes
///       parts: [...]               # a nested split of the part itself
struct PartPlan {
  std::string name;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  std::vector<PartPlan> parts;
  /// Line of the plan file, for messages; 0 where there is none.
  int line = 0;
};

struct SplitPlan {
  std::string product;
  std::vector<PartPlan> parts;
};

/// Errors read "plan.yaml:3: part 'x': got ..., want ...".
absl::StatusOr<SplitPlan> ReadSplitPlan(const std::string& path);

}  // namespace portico
