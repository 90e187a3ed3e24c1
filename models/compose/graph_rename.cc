#include "models/compose/graph_rename.h"

#include "onnx/onnx_pb.h"

namespace portico {
namespace {

template <typename Named>
void RenameAll(google::protobuf::RepeatedPtrField<Named>* all, const NewTensorName& name) {
  for (Named& one : *all) {
    if (!one.name().empty()) one.set_name(name(one.name()));
  }
}

void RenameStrings(google::protobuf::RepeatedPtrField<std::string>* names, const NewTensorName& name) {
  for (std::string& one : *names) {
    if (!one.empty()) one = name(one);
  }
}

}  // namespace

void RenameTensors(onnx::NodeProto& node, const NewTensorName& name) {
  RenameStrings(node.mutable_input(), name);
  RenameStrings(node.mutable_output(), name);
  for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
    if (attribute.has_g()) RenameTensors(*attribute.mutable_g(), name);
    for (onnx::GraphProto& body : *attribute.mutable_graphs()) RenameTensors(body, name);
  }
}

void RenameTensors(onnx::GraphProto& graph, const NewTensorName& name) {
  RenameAll(graph.mutable_input(), name);
  RenameAll(graph.mutable_output(), name);
  RenameAll(graph.mutable_value_info(), name);
  RenameAll(graph.mutable_initializer(), name);
  // Says something of tensors by name, and nothing that is computed by.
  graph.clear_quantization_annotation();
  for (onnx::NodeProto& node : *graph.mutable_node()) RenameTensors(node, name);
}

}  // namespace portico
