#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

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
///
/// A part begins at the outputs of its sibling parts in any case: what another part computes is not computed twice.
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

/// Errors read "plan.yaml:3: part 'x': got ..., want ...". `product` is empty where the file names none.
absl::StatusOr<SplitPlan> ReadSplitPlan(const std::string& path);

/// Checks names (of folders, each once), and that every part has outputs. Split() does so too.
absl::Status CheckSplitPlan(const SplitPlan& plan);

/// INVALID_ARGUMENT unless `name` can be a servable's folder below another one: segments of letters, digits, ".", "_"
/// and
/// "-" between slashes, none of them empty, ".", ".." or (but for the first) a number, which would look like a version.
absl::Status CheckServableName(absl::string_view name);

}  // namespace portico
