#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "models/graph/cascade_watch.h"
#include "models/package/signature.h"

namespace onnx {
class NodeProto;
}

namespace portico {

struct PortalSpec;

/// What a node `Cascade` says beside what all portals say (PortalSpec, whose names are those of the full model):
///
///   inputs      escalate bool[N]; for each of M answers the cheap one; K inputs of the full model; with a brown-out
///               one more, float[N]: how much each row needs the full model
///   outputs     M answers, the full model's in the rows that escalate, the cheap ones in the others; with `row_status`
///               one more, int8[N]: 0 cheap, 1 the full model's, 2 the full model had none
///   input_names, output_names   K and M names of the full model's; output_dtypes and output_shapes may leave out the
///                               row status
///   shared_inputs   strings, of input_names: travel whole; of the others the rows that escalate
///   on_row_error    what stands in rows that the full model has no answer for: see OnRowError; default "mark"
///   row_status      0 or 1; default 0
///   and those of CascadeWatch
struct CascadeSpec {
  enum class OnRowError : uint8_t {
    /// "cheap": the cheap answer stays.
    kCheap,
    /// "mark": NaN, 0, "" or false, which is no answer.
    kMark,
    /// "fail": the request fails.
    kFail,
  };

  OnRowError on_row_error = OnRowError::kMark;
  bool row_status = false;
  /// M.
  size_t answers = 0;
  /// Per input of the full model: whether it travels whole.
  std::vector<bool> shared;
  CascadeWatch watch;

  /// Inputs that are not the full model's.
  int own_inputs() const { return 1 + static_cast<int>(answers) + (watch.browns_out() ? 1 : 0); }
};

/// "cheap", "mark", "fail".
absl::string_view OnRowErrorName(CascadeSpec::OnRowError action);

/// How many of the node's inputs and outputs are the full model's, and what else concerns `node` alone.
/// INVALID_ARGUMENT where attributes, inputs or outputs are not those of a Cascade.
absl::StatusOr<CascadeSpec> ReadCascadeSpec(const onnx::NodeProto& node);

/// Whether what `portal` declares of its answers has rows that can be told apart.
absl::Status CheckCascadeAnswers(const PortalSpec& portal);

/// The same for the node's inputs, as far as their types are known before it runs: `inputs` has one entry for each.
absl::Status CheckCascadeInputs(const PortalSpec& portal, absl::Span<const std::optional<TensorSpec>> inputs);

}  // namespace portico
