#pragma once

#include <vector>

#include "absl/types/span.h"
#include "models/package/signature.h"

namespace onnx {
class GraphProto;
}  // namespace onnx

namespace portico {

/// A module as it was cut out of one product.
struct ModuleCut {
  const onnx::GraphProto* graph = nullptr;
  /// What its portals compute, in the same order in each product.
  std::vector<TensorSpec> portal_outputs;
};

/// Declares the inputs and outputs of `module` so that they are true of all of `cuts`, which are the same graph cut out
/// of several products: an extent is a number where all declare that number, and two extents have one symbol where they
/// are equal in every product. `module` is a copy of the first. Returns what its portals compute, declared likewise.
std::vector<TensorSpec> FitShapes(absl::Span<const ModuleCut> cuts, onnx::GraphProto* module);

}  // namespace portico
