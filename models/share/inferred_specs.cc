#include "models/share/inferred_specs.h"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "base/status_macros.h"
#include "models/runtime/session.h"
#include "models/split/portal_inputs.h"
#include "models/split/submodel.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// Smaller weights may be shapes, which inference wants to see; larger ones become inputs, which nobody reads.
constexpr size_t kMaxKeptBytes = 1024;
/// Sessions that are made to find out which tensors are not dense.
constexpr int kMaxTries = 64;

/// The model without its large weights and its portals, and with `wanted` as outputs.
absl::StatusOr<RunnableModel> MakeShapeModel(const Model& source, const GraphIndex& index,
                                             const absl::flat_hash_set<std::string>& wanted) {
  ASSIGN_OR_RETURN(const std::optional<Model> without, PortalsAsInputs(source));
  const Model& model = without.has_value() ? *without : source;
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
    if (!inputs.contains(tensor) && !index.IsOutput(tensor) && !index.IsWeight(tensor)) exposed.push_back(tensor);
  }
  ASSIGN_OR_RETURN(const Model shapes, Model::WithWeightsOf(model, std::move(proto)));
  return MakeRunnable(shapes, exposed);
}

absl::StatusOr<std::vector<TensorSpec>> SpecsOf(const RunnableModel& runnable) {
  Session::Options options;
  options.optimize = false;
  options.prepack = false;
  options.name = "shapes";
  ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, Session::Create(runnable.proto, runnable.weights, options));
  std::vector<TensorSpec> specs = session->inputs();
  specs.insert(specs.end(), session->outputs().begin(), session->outputs().end());
  return specs;
}

/// Of the graph's own inputs and outputs.
absl::StatusOr<std::vector<TensorSpec>> InferWithWeights(const Model& model) {
  ASSIGN_OR_RETURN(const std::optional<Model> without, PortalsAsInputs(model));
  ASSIGN_OR_RETURN(const RunnableModel runnable, MakeRunnable(without.has_value() ? *without : model, {}));
  return SpecsOf(runnable);
}

}  // namespace

absl::StatusOr<std::vector<TensorSpec>> InferSpecs(const Model& model, const GraphIndex& index,
                                                   const absl::flat_hash_set<std::string>& tensors) {
  ASSIGN_OR_RETURN(const RunnableModel runnable, MakeShapeModel(model, index, tensors));
  return SpecsOf(runnable);
}

absl::StatusOr<DenseSpecs> InferDenseSpecs(const Model& model, const GraphIndex& index,
                                           const absl::flat_hash_set<std::string>& tensors) {
  absl::StatusOr<std::vector<TensorSpec>> specs = InferSpecs(model, index, tensors);
  if (specs.ok()) return DenseSpecs{*std::move(specs)};
  specs = InferSpecs(model, index, {});
  if (!specs.ok()) {
    // Kernels that want to see their weights are no reason to think that it cannot be run.
    ASSIGN_OR_RETURN(std::vector<TensorSpec> outer, InferWithWeights(model));
    absl::flat_hash_set<std::string> unknown = tensors;
    for (const TensorSpec& spec : outer) unknown.erase(spec.name);
    return DenseSpecs{std::move(outer), unknown.size()};
  }
  DenseSpecs dense{*std::move(specs)};
  // One that is no dense tensor spoils it for all: they are asked for in ever smaller groups.
  std::deque<std::vector<std::string>> open = {{tensors.begin(), tensors.end()}};
  std::sort(open.front().begin(), open.front().end());
  for (int tries = 0; !open.empty() && tries < kMaxTries; ++tries) {
    const std::vector<std::string> group = std::move(open.front());
    open.pop_front();
    const auto learnt = InferSpecs(model, index, {group.begin(), group.end()});
    if (learnt.ok()) {
      dense.specs.insert(dense.specs.end(), learnt->begin(), learnt->end());
    } else if (group.size() > 1) {
      const auto middle = group.begin() + static_cast<std::ptrdiff_t>(group.size() / 2);
      open.emplace_back(group.begin(), middle);
      open.emplace_back(middle, group.end());
    }
  }
  for (const std::vector<std::string>& group : open) dense.unknown += group.size();
  return dense;
}

}  // namespace portico
