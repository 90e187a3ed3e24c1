#include "models/split/submodel.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "models/graph/graph_plan.h"
#include "models/graph/node_reads.h"
#include "models/package/tensor_proto.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

constexpr size_t kInlineBytes = 1024;

absl::string_view Domain(absl::string_view domain) { return domain == "ai.onnx" ? "" : domain; }

/// Adds to a graph what it uses of the graph it was taken from.
class Completer {
 public:
  Completer(const onnx::ModelProto& source, const GraphIndex& index, onnx::ModelProto* model)
      : source_(source), index_(index), model_(*model), graph_(*model->mutable_graph()) {}

  void Run() {
    for (const auto& node : graph_.node()) {
      for (const absl::string_view tensor : TensorsRead(node)) AddConstant(std::string(tensor));
    }
    for (const auto& output : graph_.output()) AddConstant(output.name());
    AddConstantNodes();
    AddWeights();
    AddTypes();
    AddFunctions();
    AddOpsets();
  }

 private:
  void AddConstant(const std::string& tensor) {
    if (!index_.IsConstant(tensor) || !constants_.insert(tensor).second) return;
    const int producer = index_.Producer(tensor);
    if (producer < 0 || !constant_nodes_.insert(producer).second) return;
    for (const std::string& input : index_.Inputs(producer)) AddConstant(input);
  }

  void AddConstantNodes() {
    if (constant_nodes_.empty()) return;
    google::protobuf::RepeatedPtrField<onnx::NodeProto> nodes;
    for (const int node : index_.order()) {
      if (constant_nodes_.contains(node)) *nodes.Add() = index_.node(node);
    }
    for (auto& node : *graph_.mutable_node()) *nodes.Add() = std::move(node);
    graph_.mutable_node()->Swap(&nodes);
  }

  void AddWeights() {
    for (const auto& weight : source_.graph().initializer()) {
      if (constants_.contains(weight.name())) *graph_.add_initializer() = weight;
    }
  }

  /// Types that the source declares for tensors inside the new graph.
  void AddTypes() {
    absl::flat_hash_set<std::string> inside;
    for (const auto& node : graph_.node()) inside.insert(node.output().begin(), node.output().end());
    for (const auto& output : graph_.output()) inside.erase(output.name());
    for (const auto& info : graph_.value_info()) inside.erase(info.name());
    for (const auto& info : source_.graph().value_info()) {
      if (inside.erase(info.name()) > 0) *graph_.add_value_info() = info;
    }
  }

  void AddFunctions() {
    for (const auto& node : graph_.node()) Visit(node);
    for (const auto& function : source_.functions()) {
      if (functions_.contains(&function)) *model_.add_functions() = function;
    }
  }

  /// Notes the domain of `node`, the function it calls, and the same of all nodes below it.
  void Visit(const onnx::NodeProto& node) {
    domains_.insert(std::string(Domain(node.domain())));
    ForEachBody(node, [this](const onnx::AttributeProto&, const onnx::GraphProto& body) {
      for (const auto& inner : body.node()) Visit(inner);
    });
    for (const auto& function : source_.functions()) {
      if (function.name() != node.op_type() || Domain(function.domain()) != Domain(node.domain())) continue;
      if (!functions_.insert(&function).second) continue;
      for (const auto& inner : function.node()) Visit(inner);
    }
  }

  /// Only what is used: two models that share a part must not differ in it by imports of their own.
  void AddOpsets() {
    domains_.insert("");
    for (const auto& opset : source_.opset_import()) {
      if (domains_.erase(std::string(Domain(opset.domain()))) > 0) *model_.add_opset_import() = opset;
    }
    if (domains_.erase(std::string(kPorticoDomain)) > 0) {
      auto* opset = model_.add_opset_import();
      opset->set_domain(std::string(kPorticoDomain));
      opset->set_version(1);
    }
  }

  const onnx::ModelProto& source_;
  const GraphIndex& index_;
  onnx::ModelProto& model_;
  onnx::GraphProto& graph_;
  absl::flat_hash_set<std::string> constants_;
  absl::flat_hash_set<int> constant_nodes_;
  absl::flat_hash_set<const onnx::FunctionProto*> functions_;
  absl::flat_hash_set<std::string> domains_;
};

/// ONNX Runtime drops weights that nobody reads before it is given their data, and then fails.
void DropUnread(onnx::GraphProto& graph) {
  absl::flat_hash_set<absl::string_view> read;
  for (const auto& node : graph.node()) {
    for (const absl::string_view tensor : TensorsRead(node)) read.insert(tensor);
  }
  for (const auto& output : graph.output()) read.insert(output.name());
  for (const auto& input : graph.input()) read.insert(input.name());
  auto& weights = *graph.mutable_initializer();
  weights.erase(std::stable_partition(weights.begin(), weights.end(),
                                      [&](const auto& weight) { return read.contains(weight.name()); }),
                weights.end());
}

}  // namespace

absl::StatusOr<Model> CompleteModel(const Model& source, const GraphIndex& index,
                                    std::unique_ptr<onnx::ModelProto> proto) {
  // Before version 4 weights had to be inputs too.
  proto->set_ir_version(std::max<int64_t>(source.proto().ir_version(), 4));
  proto->set_producer_name("portico");
  Completer(source.proto(), index, proto.get()).Run();
  return Model::WithWeightsOf(source, std::move(proto));
}

absl::StatusOr<RunnableModel> MakeRunnable(const Model& model, const std::vector<std::string>& exposed) {
  RunnableModel runnable;
  onnx::ModelProto proto = model.proto();
  DropUnread(*proto.mutable_graph());
  for (auto& weight : *proto.mutable_graph()->mutable_initializer()) {
    const auto it = model.initializers().find(weight.name());
    if (it == model.initializers().end()) continue;
    const Tensor& tensor = it->second.tensor;
    if (tensor.dtype() == DType::kString || tensor.bytes().size() <= kInlineBytes) {
      PutTensor(tensor, weight);
      continue;
    }
    weight.set_data_location(onnx::TensorProto::EXTERNAL);
    auto* location = weight.add_external_data();
    location->set_key("location");
    location->set_value("weights");
    runnable.weights.emplace_back(weight.name(), tensor);
  }
  // With the declared type where there is one: ONNX Runtime tells a scalar from an unknown rank only by it.
  absl::flat_hash_set<std::string> bare(exposed.begin(), exposed.end());
  for (const auto& info : model.proto().graph().value_info()) {
    if (bare.erase(info.name()) > 0) *proto.mutable_graph()->add_output() = info;
  }
  for (const std::string& tensor : bare) proto.mutable_graph()->add_output()->set_name(tensor);
  if (proto.ByteSizeLong() > INT32_MAX || !proto.SerializeToString(&runnable.proto)) {
    return absl::InvalidArgumentError("model: got over 2 GiB besides its weights; make constants of it weights");
  }
  return runnable;
}

void SetValueInfo(const TensorSpec& spec, onnx::ValueInfoProto* info) {
  info->set_name(spec.graph_name);
  auto* type = info->mutable_type()->mutable_tensor_type();
  type->set_elem_type(static_cast<int>(spec.dtype));
  if (!spec.has_rank) return;
  auto* shape = type->mutable_shape();
  for (const Dim& dim : spec.dims) {
    auto* out = shape->add_dim();
    if (dim.extent >= 0) {
      out->set_dim_value(dim.extent);
    } else if (!dim.symbol.empty()) {
      out->set_dim_param(dim.symbol);
    }
  }
}

}  // namespace portico
