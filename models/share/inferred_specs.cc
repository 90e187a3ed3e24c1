#include "models/share/inferred_specs.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/status_macros.h"
#include "models/runtime/session.h"
#include "models/split/submodel.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// Smaller weights may be shapes, which inference wants to see; larger ones become inputs, which nobody reads.
constexpr size_t kMaxKeptBytes = 1024;

/// The model without its large weights, and with `wanted` as outputs.
absl::StatusOr<RunnableModel> MakeShapeModel(const Model& model, const GraphIndex& index,
                                             const absl::flat_hash_set<std::string>& wanted) {
  auto proto = std::make_unique<onnx::ModelProto>(model.proto());
  onnx::GraphProto& graph = *proto->mutable_graph();
  absl::flat_hash_set<std::string> inputs;
  for (const auto& input : graph.input()) inputs.insert(input.name());
  google::protobuf::RepeatedPtrField<onnx::TensorProto> kept;
  for (onnx::TensorProto& weight : *graph.mutable_initializer()) {
    const Tensor& tensor = model.initializers().at(weight.name()).tensor;
    if (tensor.dtype() == DType::kString || tensor.bytes().size() <= kMaxKeptBytes) {
      *kept.Add() = std::move(weight);
      continue;
    }
    if (!inputs.insert(weight.name()).second) continue;
    TensorSpec spec{.name = weight.name(), .graph_name = weight.name(), .dtype = tensor.dtype(), .dims = {}};
    for (const int64_t extent : tensor.shape()) spec.dims.push_back({extent, ""});
    SetValueInfo(spec, graph.add_input());
  }
  graph.mutable_initializer()->Swap(&kept);
  proto->set_ir_version(std::max<int64_t>(proto->ir_version(), 4));
  std::vector<std::string> exposed;
  for (const std::string& tensor : wanted) {
    if (!index.IsInput(tensor) && !index.IsOutput(tensor) && !index.IsWeight(tensor)) exposed.push_back(tensor);
  }
  ASSIGN_OR_RETURN(const Model shapes, Model::WithWeightsOf(model, std::move(proto)));
  return MakeRunnable(shapes, exposed);
}

}  // namespace

absl::StatusOr<std::vector<TensorSpec>> InferSpecs(const Model& model, const GraphIndex& index,
                                                   const absl::flat_hash_set<std::string>& tensors) {
  ASSIGN_OR_RETURN(RunnableModel runnable, MakeShapeModel(model, index, tensors));
  Session::Options options;
  options.optimize = false;
  options.prepack = false;
  options.name = "shapes";
  ASSIGN_OR_RETURN(const std::unique_ptr<Session> session,
                   Session::Create(runnable.proto, std::move(runnable.weights), options));
  std::vector<TensorSpec> specs = session->inputs();
  specs.insert(specs.end(), session->outputs().begin(), session->outputs().end());
  return specs;
}

}  // namespace portico
