#pragma once

#include "absl/types/span.h"

namespace onnx {
class GraphProto;
}  // namespace onnx

namespace portico {

/// Declares the inputs and outputs of `module` so that they are true of all of `cuts`, which are the same graph cut out
/// of several products: an extent is a number where all declare that number, and two extents have one symbol where they
/// are equal in every product. `module` is a copy of the first.
void FitShapes(absl::Span<const onnx::GraphProto* const> cuts, onnx::GraphProto* module);

}  // namespace portico
