#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "models/package/model.h"
#include "models/package/signature.h"
#include "models/split/graph_index.h"

namespace onnx {
class ModelProto;
class ValueInfoProto;
}  // namespace onnx

namespace portico {

/// A model of its own from `proto`, whose graph has nodes, inputs and outputs: adds what they use of `source` (constant
/// nodes, weights, types of inner tensors, local functions, opset imports). `index` is that of `source`.
absl::StatusOr<Model> CompleteModel(const Model& source, const GraphIndex& index,
                                    std::unique_ptr<onnx::ModelProto> proto);

/// A model as Session::Create() takes it.
struct RunnableModel {
  std::string proto;
  std::vector<std::pair<std::string, Tensor>> weights;
};

/// `model` with `exposed` (tensors of its graph) as further outputs. Weights over 1 KiB are passed beside the protobuf.
absl::StatusOr<RunnableModel> MakeRunnable(const Model& model, const std::vector<std::string>& exposed);

/// `spec` as an input or output of a graph, named by its graph_name.
void SetValueInfo(const TensorSpec& spec, onnx::ValueInfoProto* info);

}  // namespace portico
