#include "models/share/product_graph.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/graph/determinism.h"
#include "models/graph/graph_plan.h"
#include "models/graph/node_reads.h"
#include "models/graph/portal_spec.h"
#include "models/package/tensor_digests.h"
#include "models/package/tensor_proto.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

template <typename Nodes>
absl::Status RefusePortals(const Nodes& nodes) {
  absl::Status status;
  for (const onnx::NodeProto& node : nodes) {
    if (node.domain() == kPorticoDomain) {
      return absl::InvalidArgumentError(
          absl::StrCat(DescribeNode(node),
                       ": got a portal, want a model without; share what the models were before they were split"));
    }
    ForEachBody(node, [&](const onnx::AttributeProto&, const onnx::GraphProto& body) {
      status.Update(RefusePortals(body.node()));
    });
  }
  return status;
}

/// Ops of ONNX Runtime's own, which its optimised exports are full of, give the same each time unless they say so.
bool IsKnownContrib(const onnx::NodeProto& node) {
  if (node.domain() != "com.microsoft" || node.op_type().empty()) return false;
  for (const absl::string_view random : {"Dropout", "Random", "Sampling", "Bernoulli", "Multinomial"}) {
    if (absl::StrContains(node.op_type(), random)) return false;
  }
  bool has_body = false;
  ForEachBody(node, [&](const onnx::AttributeProto&, const onnx::GraphProto&) { has_body = true; });
  return !has_body;
}

class Builder {
 public:
  Builder(const Model& model, const GraphIndex& index, TensorDigests digests)
      : model_(model), index_(index), determinism_(model.proto()), digests_(std::move(digests)) {}

  absl::StatusOr<ProductGraph> Run() {
    const std::vector<bool> live = LiveNodes();
    for (const auto& input : model_.proto().graph().input()) {
      if (index_.IsInput(input.name())) AddTensor(input.name(), -1, -1);
    }
    for (const int node : index_.order()) {
      if (!live[static_cast<size_t>(node)]) continue;
      if (index_.IsConstantNode(node)) {
        AddConstantBytes(node);
      } else {
        RETURN_IF_ERROR(AddNode(node));
      }
    }
    return std::move(graph_);
  }

 private:
  /// Nodes that an output of the graph needs.
  std::vector<bool> LiveNodes() const {
    std::vector<bool> live(static_cast<size_t>(index_.num_nodes()), false);
    const auto mark = [&](absl::string_view tensor) {
      if (const int node = index_.Producer(tensor); node >= 0) live[static_cast<size_t>(node)] = true;
    };
    for (const auto& output : model_.proto().graph().output()) mark(output.name());
    for (auto node = index_.order().rbegin(); node != index_.order().rend(); ++node) {
      if (!live[static_cast<size_t>(*node)]) continue;
      for (const std::string& input : index_.Inputs(*node)) mark(input);
    }
    return live;
  }

  int AddTensor(const std::string& name, int producer, int output) {
    const int tensor = static_cast<int>(graph_.tensors.size());
    graph_.tensors.push_back(
        {.name = name, .producer = producer, .output = output, .is_output = index_.IsOutput(name), .readers = {}});
    tensors_.emplace(name, tensor);
    return tensor;
  }

  uint64_t BytesOfConstant(const std::string& tensor) const {
    const int producer = index_.Producer(tensor);
    if (producer < 0) return model_.initializers().at(tensor).tensor.bytes().size();
    return constant_bytes_.at(producer);
  }

  /// Of a node that is computed from weights alone: the bytes of those weights.
  void AddConstantBytes(int node) {
    uint64_t bytes = 0;
    if (index_.node(node).op_type() == "Constant") {
      bytes = index_.node(node).ByteSizeLong();
      for (const onnx::AttributeProto& attribute : index_.node(node).attribute()) {
        if (attribute.has_t() && !attribute.t().raw_data().empty()) bytes = attribute.t().raw_data().size();
      }
    }
    // Weights that come in on several paths count once a path, up to what cannot be.
    constexpr uint64_t kMost = uint64_t{1} << 50;
    for (const std::string& input : index_.Inputs(node)) bytes = std::min(kMost, bytes + BytesOfConstant(input));
    constant_bytes_.emplace(node, bytes);
  }

  absl::StatusOr<int> NumberOfConstant(const std::string& tensor) {
    ASSIGN_OR_RETURN(const Digest digest, digests_.Of(tensor));
    const auto [at, is_new] = constants_.emplace(digest, static_cast<int>(graph_.constants.size()));
    if (is_new) graph_.constants.push_back({digest, BytesOfConstant(tensor)});
    return at->second;
  }

  absl::Status AddNode(int number) {
    const onnx::NodeProto& proto = index_.node(number);
    ProductGraph::Node node;
    node.index = number;
    node.shareable = determinism_.IsDeterministic(proto) || IsKnownContrib(proto);
    ASSIGN_OR_RETURN(node.alone, digests_.OfNodeAlone(
                                     proto, [this](absl::string_view tensor) { return index_.IsConstant(tensor); }));
    const int id = static_cast<int>(graph_.nodes.size());
    std::vector<std::string> reads(proto.input().begin(), proto.input().end());
    while (!reads.empty() && reads.back().empty()) reads.pop_back();
    const absl::flat_hash_set<std::string> inputs(reads.begin(), reads.end());
    for (const std::string& tensor : index_.Inputs(number)) {
      if (!inputs.contains(tensor)) reads.push_back(tensor);
    }
    absl::flat_hash_set<int> constants;
    for (const std::string& tensor : reads) {
      node.slots.push_back(-1);
      if (tensor.empty()) continue;
      if (index_.IsConstant(tensor)) {
        ASSIGN_OR_RETURN(const int constant, NumberOfConstant(tensor));
        if (constants.insert(constant).second) node.constants.push_back(constant);
        continue;
      }
      node.slots.back() = tensors_.at(tensor);
      graph_.tensors[static_cast<size_t>(node.slots.back())].readers.push_back(
          {id, static_cast<int>(node.slots.size()) - 1});
    }
    for (int i = 0; i < proto.output_size(); ++i) {
      node.outputs.push_back(proto.output(i).empty() ? -1 : AddTensor(proto.output(i), id, i));
    }
    while (!node.outputs.empty() && node.outputs.back() < 0) node.outputs.pop_back();
    if (!index_.Outputs(number).empty()) {
      ASSIGN_OR_RETURN(node.structure, digests_.Of(index_.Outputs(number).front()));
    }
    graph_.nodes.push_back(std::move(node));
    return absl::OkStatus();
  }

  const Model& model_;
  const GraphIndex& index_;
  const Determinism determinism_;
  TensorDigests digests_;
  ProductGraph graph_;
  absl::flat_hash_map<std::string, int> tensors_;
  absl::flat_hash_map<Digest, int> constants_;
  absl::flat_hash_map<int, uint64_t> constant_bytes_;
};

}  // namespace

absl::StatusOr<ProductGraph> ProductGraph::Create(const Model& model, const GraphIndex& index) {
  RETURN_IF_ERROR(RefusePortals(model.proto().graph().node()));
  for (const auto& function : model.proto().functions()) RETURN_IF_ERROR(RefusePortals(function.node()));
  ASSIGN_OR_RETURN(TensorDigests digests, TensorDigests::Create(model, TensorDigests::Inputs::kByDtype));
  return Builder(model, index, std::move(digests)).Run();
}

}  // namespace portico
