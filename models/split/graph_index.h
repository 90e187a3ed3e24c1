#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace onnx {
class GraphProto;
class ModelProto;
class NodeProto;
}  // namespace onnx

namespace portico {

class Determinism;

/// Who computes and who reads each tensor of an ONNX graph: what cutting it needs to know. Bodies of If, Loop and Scan
/// belong to their node, whose inputs are then also what the bodies capture. Immutable; borrows the graph, which must
/// outlive it. (What serving needs of a graph is models/graph/dataflow.h: of one signature, with portals.)
class GraphIndex {
 public:
  /// INVALID_ARGUMENT when two nodes compute one tensor, when nobody computes a tensor that a node reads, or when the
  /// graph has a cycle.
  static absl::StatusOr<GraphIndex> Create(const onnx::ModelProto& model);

  int num_nodes() const { return static_cast<int>(inputs_.size()); }
  const onnx::NodeProto& node(int node) const;
  /// Distinct tensors that `node` reads, captured ones included.
  const std::vector<std::string>& Inputs(int node) const { return inputs_[node]; }
  /// Tensors that `node` computes; optional ones that are left out are not listed.
  const std::vector<std::string>& Outputs(int node) const { return outputs_[node]; }
  /// Whether `node` depends on nothing but weights: such nodes are copied to where they are used.
  bool IsConstantNode(int node) const { return constant_[node]; }
  /// All nodes so that each comes after what it reads; in the graph's own order where that does.
  const std::vector<int>& order() const { return order_; }

  /// The node that computes `tensor`; −1: an input of the graph, a weight, or not there.
  int Producer(absl::string_view tensor) const;
  /// The nodes that read `tensor`.
  absl::Span<const int> Readers(absl::string_view tensor) const;
  bool IsInput(absl::string_view tensor) const { return graph_inputs_.contains(tensor); }
  bool IsOutput(absl::string_view tensor) const { return graph_outputs_.contains(tensor); }
  bool IsWeight(absl::string_view tensor) const { return weights_.contains(tensor); }
  /// A weight, or computed by a constant node.
  bool IsConstant(absl::string_view tensor) const;
  bool Exists(absl::string_view tensor) const { return Producer(tensor) >= 0 || IsInput(tensor) || IsWeight(tensor); }

  /// "node 'conv1' (Conv)", for messages; a node without a name goes by what it computes.
  std::string Describe(int node) const;
  /// The node in whose body `tensor` is computed, or −1.
  int BodyWith(absl::string_view tensor) const;
  /// Up to three tensors whose names resemble `name` most, quoted, for messages.
  std::string NearestNames(absl::string_view name) const;

 private:
  explicit GraphIndex(const onnx::GraphProto& graph) : graph_(&graph) {}
  absl::Status Connect();
  absl::Status Sort(const Determinism& determinism);

  const onnx::GraphProto* graph_;
  std::vector<std::vector<std::string>> inputs_;
  std::vector<std::vector<std::string>> outputs_;
  std::vector<bool> constant_;
  std::vector<int> order_;
  absl::flat_hash_map<std::string, int> producer_;
  absl::flat_hash_map<std::string, std::vector<int>> readers_;
  absl::flat_hash_set<std::string> graph_inputs_;
  absl::flat_hash_set<std::string> graph_outputs_;
  absl::flat_hash_set<std::string> weights_;
};

}  // namespace portico
