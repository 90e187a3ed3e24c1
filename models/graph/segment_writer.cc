#include "models/graph/segment_writer.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// Larger weights stay out of the segment's bytes.
constexpr size_t kMaxInlineBytes = 1024;
/// Since this version of the format an initializer need not be an input too.
constexpr int64_t kMinIrVersion = 4;

std::string FunctionKey(absl::string_view domain, absl::string_view name) { return absl::StrCat(domain, "::", name); }

void Declare(const TensorSpec& spec, onnx::ValueInfoProto* value) {
  value->set_name(spec.graph_name);
  onnx::TypeProto::Tensor* type = value->mutable_type()->mutable_tensor_type();
  type->set_elem_type(static_cast<int>(spec.dtype));
  if (!spec.has_rank) return;
  onnx::TensorShapeProto* shape = type->mutable_shape();
  for (const Dim& dim : spec.dims) {
    onnx::TensorShapeProto::Dimension* out = shape->add_dim();
    if (dim.extent >= 0) {
      out->set_dim_value(dim.extent);
    } else if (!dim.symbol.empty()) {
      out->set_dim_param(dim.symbol);
    }
  }
}

void Inline(const Tensor& tensor, onnx::TensorProto* proto) {
  if (tensor.dtype() != DType::kString) {
    proto->set_raw_data(tensor.bytes().data(), tensor.bytes().size());
    return;
  }
  for (uint64_t i = 0; i < tensor.num_elements(); ++i) proto->add_string_data(std::string(tensor.StringAt(i)));
}

}  // namespace

SegmentWriter::SegmentWriter(const Model& model) : model_(model) {
  const onnx::GraphProto& graph = model.proto().graph();
  for (const onnx::ValueInfoProto& value : graph.value_info()) declared_.emplace(value.name(), &value);
  for (const onnx::ValueInfoProto& value : graph.output()) declared_.emplace(value.name(), &value);
  for (const onnx::TensorProto& weight : graph.initializer()) weights_.emplace(weight.name(), &weight);
  for (const onnx::SparseTensorProto& weight : graph.sparse_initializer()) {
    sparse_weights_.emplace(weight.values().name(), &weight);
  }
  for (const onnx::FunctionProto& function : model.proto().functions()) {
    functions_[FunctionKey(function.domain(), function.name())].push_back(&function);
  }
}

std::optional<TensorSpec> SegmentWriter::Declared(absl::string_view tensor) const {
  const auto at = declared_.find(tensor);
  if (at == declared_.end() || !at->second->type().has_tensor_type()) return std::nullopt;
  const onnx::TypeProto::Tensor& type = at->second->type().tensor_type();
  const auto dtype = DTypeFromNumber(type.elem_type());
  if (!dtype.ok() || !type.has_shape()) return std::nullopt;
  TensorSpec spec;
  spec.name = spec.graph_name = std::string(tensor);
  spec.dtype = *dtype;
  for (const onnx::TensorShapeProto::Dimension& dim : type.shape().dim()) {
    spec.dims.push_back({.extent = dim.has_dim_value() ? dim.dim_value() : -1, .symbol = dim.dim_param()});
  }
  return spec;
}

absl::StatusOr<SegmentSpec> SegmentWriter::Write(const std::string& name, const Content& content) const {
  SegmentSpec segment;
  segment.name = name;
  segment.num_nodes = static_cast<int64_t>(content.nodes.size());

  onnx::ModelProto proto;
  proto.set_ir_version(std::max<int64_t>(model_.proto().ir_version(), kMinIrVersion));
  for (const onnx::OperatorSetIdProto& opset : model_.proto().opset_import()) {
    if (opset.domain() != kPorticoDomain) *proto.add_opset_import() = opset;
  }
  for (const onnx::FunctionProto* function : FunctionsOf(content.nodes)) *proto.add_functions() = *function;

  onnx::GraphProto& graph = *proto.mutable_graph();
  graph.set_name(name);
  for (const TensorSpec& input : content.inputs) {
    segment.inputs.push_back(input.graph_name);
    Declare(input, graph.add_input());
  }
  absl::flat_hash_set<absl::string_view> outputs;
  for (const absl::string_view output : content.outputs) {
    segment.outputs.emplace_back(output);
    outputs.insert(output);
    const auto declared = declared_.find(output);
    // ONNX Runtime infers the type of an output that has none.
    if (declared != declared_.end()) {
      *graph.add_output() = *declared->second;
    } else {
      graph.add_output()->set_name(std::string(output));
    }
  }
  for (const onnx::NodeProto* node : content.nodes) {
    *graph.add_node() = *node;
    for (const std::string& output : node->output()) {
      const auto declared = declared_.find(output);
      if (declared != declared_.end() && !outputs.contains(output)) *graph.add_value_info() = *declared->second;
    }
  }
  for (const absl::string_view weight : content.weights) RETURN_IF_ERROR(AddWeight(weight, graph, segment));
  if (!proto.SerializeToString(&segment.model)) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": got a graph over 2 GiB without its weights, want less"));
  }
  return segment;
}

absl::Status SegmentWriter::AddWeight(absl::string_view name, onnx::GraphProto& graph, SegmentSpec& segment) const {
  const auto sparse = sparse_weights_.find(name);
  if (sparse != sparse_weights_.end()) {
    *graph.add_sparse_initializer() = *sparse->second;
    return absl::OkStatus();
  }
  const auto proto = weights_.find(name);
  const auto data = model_.initializers().find(name);
  if (proto == weights_.end() || data == model_.initializers().end()) {
    return absl::InternalError(
        absl::StrCat("weight '", name, "': got no data, want it among the model's initializers"));
  }
  const Tensor& tensor = data->second.tensor;
  onnx::TensorProto* out = graph.add_initializer();
  out->set_name(std::string(name));
  out->set_data_type(proto->second->data_type());
  for (const int64_t extent : tensor.shape()) out->add_dims(extent);
  if (tensor.dtype() == DType::kString || tensor.bytes().size() <= kMaxInlineBytes) {
    Inline(tensor, out);
    return absl::OkStatus();
  }
  out->set_data_location(onnx::TensorProto::EXTERNAL);
  // The format wants a place; ONNX Runtime is handed the data instead and never looks there.
  onnx::StringStringEntryProto* location = out->add_external_data();
  location->set_key("location");
  location->set_value("weights");
  segment.weights.emplace_back(std::string(name), tensor);
  return absl::OkStatus();
}

std::vector<const onnx::FunctionProto*> SegmentWriter::FunctionsOf(
    const std::vector<const onnx::NodeProto*>& nodes) const {
  if (functions_.empty()) return {};
  // By name: what overloads a name comes along.
  absl::flat_hash_set<std::string> used;
  std::vector<const onnx::NodeProto*> open = nodes;
  while (!open.empty()) {
    const onnx::NodeProto& node = *open.back();
    open.pop_back();
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      for (const onnx::NodeProto& inner : attribute.g().node()) open.push_back(&inner);
      for (const onnx::GraphProto& body : attribute.graphs()) {
        for (const onnx::NodeProto& inner : body.node()) open.push_back(&inner);
      }
    }
    const auto functions = functions_.find(FunctionKey(node.domain(), node.op_type()));
    if (functions == functions_.end() || !used.insert(functions->first).second) continue;
    for (const onnx::FunctionProto* function : functions->second) {
      for (const onnx::NodeProto& inner : function->node()) open.push_back(&inner);
    }
  }
  std::vector<const onnx::FunctionProto*> in_order;
  for (const onnx::FunctionProto& function : model_.proto().functions()) {
    if (used.contains(FunctionKey(function.domain(), function.name()))) in_order.push_back(&function);
  }
  return in_order;
}

}  // namespace portico
