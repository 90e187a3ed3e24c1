#include "models/share/live_nodes.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "base/status_macros.h"
#include "models/graph/node_reads.h"
#include "onnx/onnx_pb.h"

namespace portico {

std::vector<bool> LiveNodes(const Model& model, const GraphIndex& index) {
  std::vector<bool> live(static_cast<size_t>(index.num_nodes()), false);
  const auto mark = [&](absl::string_view tensor) {
    if (const int node = index.Producer(tensor); node >= 0) live[static_cast<size_t>(node)] = true;
  };
  for (const auto& output : model.proto().graph().output()) mark(output.name());
  for (auto node = index.order().rbegin(); node != index.order().rend(); ++node) {
    if (!live[static_cast<size_t>(*node)]) continue;
    for (const std::string& input : index.Inputs(*node)) mark(input);
  }
  return live;
}

void DropUnread(onnx::GraphProto& graph, absl::flat_hash_map<std::string, Initializer>& weights) {
  absl::flat_hash_set<std::string> read;
  for (const onnx::NodeProto& node : graph.node()) {
    for (const absl::string_view tensor : TensorsRead(node)) read.emplace(tensor);
  }
  for (const auto& output : graph.output()) read.insert(output.name());
  auto& initializers = *graph.mutable_initializer();
  const auto kept = std::stable_partition(initializers.begin(), initializers.end(),
                                          [&](const auto& weight) { return read.contains(weight.name()); });
  absl::flat_hash_set<std::string> dropped;
  for (auto weight = kept; weight != initializers.end(); ++weight) dropped.insert(weight->name());
  for (const std::string& name : dropped) weights.erase(name);
  // Up to IR version 3 every initializer is listed as an input too.
  auto& inputs = *graph.mutable_input();
  inputs.erase(std::stable_partition(inputs.begin(), inputs.end(),
                                     [&](const auto& input) { return !dropped.contains(input.name()); }),
               inputs.end());
  initializers.erase(kept, initializers.end());
}

absl::StatusOr<std::optional<Model>> DropDeadNodes(const Model& model) {
  ASSIGN_OR_RETURN(const GraphIndex index, GraphIndex::Create(model.proto()));
  const std::vector<bool> live = LiveNodes(model, index);
  if (std::find(live.begin(), live.end(), false) == live.end()) return std::nullopt;
  auto proto = std::make_unique<onnx::ModelProto>(model.proto());
  onnx::GraphProto& graph = *proto->mutable_graph();
  graph.clear_node();
  for (int node = 0; node < index.num_nodes(); ++node) {
    if (live[static_cast<size_t>(node)]) *graph.add_node() = index.node(node);
  }
  absl::flat_hash_map<std::string, Initializer> weights = model.initializers();
  DropUnread(graph, weights);
  ASSIGN_OR_RETURN(Model rest, Model::WithWeights(std::move(weights), std::move(proto)));
  return std::optional<Model>(std::move(rest));
}

}  // namespace portico
