#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "models/package/model.h"
#include "models/split/graph_index.h"

namespace onnx {
class NodeProto;
}

namespace portico {

// What a graph says by constants: axes, limits, paddings.

/// The whole numbers of a weight or of a Constant node; none where `tensor` is neither, is of another type or large.
std::optional<std::vector<int64_t>> ConstantInts(const Model& model, const GraphIndex& index, absl::string_view tensor);
/// The same of a body's node.
std::optional<std::vector<int64_t>> ConstantInts(const onnx::NodeProto& node);

/// The tensor that a node reads there; empty beyond the last one, as where there is none.
const std::string& InputOf(const onnx::NodeProto& node, int index);
int64_t IntOf(const onnx::NodeProto& node, absl::string_view attribute, int64_t otherwise);

/// Axes of a Reduce, Squeeze or Unsqueeze: an attribute or, in newer operator sets, the second input.
std::optional<std::vector<int64_t>> AxesOf(const Model& model, const GraphIndex& index, const onnx::NodeProto& node);

/// Version of the standard operators that the model imports.
int64_t OpsetOf(const Model& model);

}  // namespace portico
