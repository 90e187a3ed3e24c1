#include "tests/integration/middle_cut.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <utility>

#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// What a node reads: its inputs, and what the bodies of an If, Loop or Scan capture. Names that a body computes
/// itself are among them; no node outside has them.
void AddReads(const onnx::NodeProto& node, std::set<std::string>& reads) {
  for (const std::string& input : node.input()) {
    if (!input.empty()) reads.insert(input);
  }
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    for (const onnx::NodeProto& inner : attribute.g().node()) AddReads(inner, reads);
    for (const onnx::ValueInfoProto& output : attribute.g().output()) reads.insert(output.name());
  }
}

/// The graph as indices of nodes.
class Dependencies {
 public:
  explicit Dependencies(const onnx::GraphProto& graph) : graph_(graph), reads_(graph.node_size()) {
    for (int i = 0; i < graph.node_size(); ++i) {
      AddReads(graph.node(i), reads_[i]);
      for (const std::string& output : graph.node(i).output()) writer_[output] = i;
    }
    for (const onnx::ValueInfoProto& output : graph.output()) results_.insert(output.name());
    std::set<std::string> varying;
    for (const onnx::ValueInfoProto& input : graph.input()) varying.insert(input.name());
    for (const onnx::TensorProto& weight : graph.initializer()) varying.erase(weight.name());
    for (int i = 0; i < graph.node_size(); ++i) {  // nodes are in topological order
      const bool varies = std::any_of(reads_[i].begin(), reads_[i].end(),
                                      [&](const std::string& name) { return varying.count(name) != 0; });
      if (!varies) constants_.insert(i);
      if (varies) varying.insert(graph.node(i).output().begin(), graph.node(i).output().end());
    }
  }

  /// `node` and all that lead to it.
  std::set<int> Front(int node) const {
    std::set<int> front = {node};
    for (std::vector<int> open = {node}; !open.empty();) {
      const int next = open.back();
      open.pop_back();
      for (const std::string& name : reads_[next]) {
        const auto writer = writer_.find(name);
        if (writer != writer_.end() && front.insert(writer->second).second) open.push_back(writer->second);
      }
    }
    return front;
  }

  /// Tensors of `front` that are used behind it. What depends on nothing but constants may stand on both sides.
  std::vector<std::string> Crossing(const std::set<int>& front) const {
    std::set<std::string> used = results_;
    for (int i = 0; i < graph_.node_size(); ++i) {
      if (front.count(i) == 0) used.insert(reads_[i].begin(), reads_[i].end());
    }
    std::vector<std::string> crossing;
    for (const int i : front) {
      for (const std::string& output : graph_.node(i).output()) {
        if (used.count(output) != 0 && !constant(i)) crossing.push_back(output);
      }
    }
    return crossing;
  }

  bool constant(int node) const { return constants_.count(node) != 0; }
  bool Whole(const std::set<int>& front) const {
    for (int i = 0; i < graph_.node_size(); ++i) {
      if (front.count(i) == 0 && !constant(i)) return false;
    }
    return true;
  }

 private:
  const onnx::GraphProto& graph_;
  std::vector<std::set<std::string>> reads_;
  std::map<std::string, int> writer_;
  std::set<std::string> results_;
  /// Nodes that depend on no input.
  std::set<int> constants_;
};

}  // namespace

std::vector<SplitPlan> MiddleCuts(const onnx::GraphProto& graph, const std::string& product, const std::string& part) {
  const Dependencies dependencies(graph);
  const int middle = (graph.node_size() - 1) / 2;
  std::vector<int> nodes;
  for (int i = 0; i < graph.node_size(); ++i) {
    if (!dependencies.constant(i)) nodes.push_back(i);
  }
  std::stable_sort(nodes.begin(), nodes.end(),
                   [middle](int a, int b) { return std::abs(a - middle) < std::abs(b - middle); });
  std::vector<SplitPlan> cuts, whole;
  for (const int node : nodes) {
    const std::set<int> front = dependencies.Front(node);
    PartPlan plan;
    plan.name = part;
    plan.outputs = dependencies.Crossing(front);
    if (plan.outputs.empty()) continue;  // nobody uses it
    (dependencies.Whole(front) ? whole : cuts).push_back({product, {std::move(plan)}});
  }
  std::move(whole.begin(), whole.end(), std::back_inserter(cuts));
  return cuts;
}

}  // namespace portico
