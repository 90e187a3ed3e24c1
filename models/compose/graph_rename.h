#pragma once

#include <functional>
#include <string>

namespace onnx {
class GraphProto;
class NodeProto;
}  // namespace onnx

namespace portico {

/// The new name of a tensor; never asked for the empty one.
using NewTensorName = std::function<std::string(const std::string&)>;

/// Renames what `node` reads and computes, in its bodies too. Functions that it calls have names of their own.
void RenameTensors(onnx::NodeProto& node, const NewTensorName& name);

/// Renames all tensors of `graph`.
void RenameTensors(onnx::GraphProto& graph, const NewTensorName& name);

}  // namespace portico
