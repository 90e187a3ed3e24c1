#include "models/split/portal_inputs.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "models/graph/dataflow.h"
#include "models/graph/graph_plan.h"
#include "models/graph/portal_spec.h"
#include "models/split/submodel.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

bool IsPortal(const onnx::NodeProto& node) { return node.domain() == kPorticoDomain; }

/// ONNX Runtime takes no graph without nodes and outputs: where portals computed everything, an input is one, too.
/// REQUIRES: there is an input.
void AddOutput(onnx::GraphProto& graph) {
  absl::flat_hash_set<absl::string_view> taken;
  for (const auto& input : graph.input()) taken.insert(input.name());
  for (const auto& weight : graph.initializer()) taken.insert(weight.name());
  for (const auto& node : graph.node()) taken.insert(node.output().begin(), node.output().end());
  std::string name = "output";
  while (taken.contains(name)) name += "_";
  const std::string input = graph.input(graph.input_size() - 1).name();
  onnx::NodeProto* node = graph.add_node();
  node->set_op_type("Identity");
  node->add_input(input);
  node->add_output(name);
  graph.add_output()->set_name(name);
}

}  // namespace

bool HasPortals(const Model& model) {
  const auto& nodes = model.proto().graph().node();
  return std::any_of(nodes.begin(), nodes.end(), IsPortal);
}

absl::StatusOr<std::optional<Model>> PortalsAsInputs(const Model& model) {
  RETURN_IF_ERROR(CheckPortalPlaces(model.proto()));
  if (!HasPortals(model)) return std::nullopt;
  auto proto = std::make_unique<onnx::ModelProto>(model.proto());
  onnx::GraphProto& graph = *proto->mutable_graph();
  absl::flat_hash_set<std::string> computed;
  for (const onnx::NodeProto& node : graph.node()) {
    if (!IsPortal(node)) continue;
    ASSIGN_OR_RETURN(const PortalSpec spec, ReadPortalSpec(node));
    for (const TensorSpec& output : spec.outputs) {
      if (output.graph_name.empty()) continue;
      SetValueInfo(output, graph.add_input());
      computed.insert(output.graph_name);
    }
  }
  const auto drop = [](auto& list, const auto& is_dropped) {
    list.erase(std::stable_partition(list.begin(), list.end(), [&](const auto& entry) { return !is_dropped(entry); }),
               list.end());
  };
  const auto is_computed = [&](const onnx::ValueInfoProto& info) { return computed.contains(info.name()); };
  drop(*graph.mutable_node(), IsPortal);
  drop(*graph.mutable_output(), is_computed);
  drop(*graph.mutable_value_info(), is_computed);
  drop(*proto->mutable_opset_import(), [](const auto& opset) { return opset.domain() == kPorticoDomain; });
  if (graph.output().empty()) AddOutput(graph);
  ASSIGN_OR_RETURN(Model rest, Model::WithWeightsOf(model, std::move(proto)));
  return std::optional<Model>(std::move(rest));
}

}  // namespace portico
