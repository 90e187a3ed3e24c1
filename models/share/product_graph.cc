#include "models/share/product_graph.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/graph/dataflow.h"
#include "models/graph/determinism.h"
#include "models/graph/graph_plan.h"
#include "models/graph/node_reads.h"
#include "models/graph/portal_spec.h"
#include "models/package/tensor_digests.h"
#include "models/package/tensor_proto.h"
#include "models/share/live_nodes.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// Constants that a constant node counts as made of.
constexpr size_t kMaxMadeOf = 64;
/// What cannot be, and can still be added up.
constexpr uint64_t kMostBytes = uint64_t{1} << 50;

/// A portal answers the same for the same inputs where it says what it calls: by digest or, of tables, by group.
absl::StatusOr<bool> AnswersTheSame(const onnx::NodeProto& node) {
  ASSIGN_OR_RETURN(const PortalSpec spec, ReadPortalSpec(node));
  if (spec.embedding.has_value()) return true;
  const std::vector<PortalTarget> targets = PortalTargets(spec);
  return std::none_of(targets.begin(), targets.end(), [](const PortalTarget& one) { return one.digest.empty(); });
}

/// Ops of ONNX Runtime's own, which its optimised exports are full of, give the same each time unless they say so.
/// Local functions of that domain are not its ops: Determinism looks into them.
bool IsKnownContrib(const onnx::ModelProto& model, const onnx::NodeProto& node) {
  if (node.domain() != "com.microsoft" || node.op_type().empty()) return false;
  for (const auto& function : model.functions()) {
    if (function.domain() == node.domain() && function.name() == node.op_type()) return false;
  }
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
    const std::vector<bool> live = LiveNodes(model_, index_);
    for (const auto& input : model_.proto().graph().input()) {
      if (index_.IsInput(input.name())) AddTensor(input.name(), -1, -1);
    }
    for (const int node : index_.order()) {
      if (!live[static_cast<size_t>(node)]) continue;
      if (index_.IsConstantNode(node)) {
        RETURN_IF_ERROR(AddConstantNode(node));
      } else {
        RETURN_IF_ERROR(AddNode(node));
      }
    }
    for (const auto& output : model_.proto().graph().output()) {
      if (!index_.IsConstant(output.name())) continue;
      ASSIGN_OR_RETURN(const std::vector<int> constants, ConstantsOf(output.name()));
      graph_.output_constants.insert(graph_.output_constants.end(), constants.begin(), constants.end());
    }
    return std::move(graph_);
  }

 private:
  int AddTensor(const std::string& name, int producer, int output) {
    const int tensor = static_cast<int>(graph_.tensors.size());
    graph_.tensors.push_back(
        {.name = name, .producer = producer, .output = output, .is_output = index_.IsOutput(name), .readers = {}});
    tensors_.emplace(name, tensor);
    return tensor;
  }

  absl::StatusOr<int> NumberOfConstant(const std::string& tensor, uint64_t bytes) {
    ASSIGN_OR_RETURN(const Digest digest, digests_.Of(tensor));
    const auto [at, is_new] = constants_.emplace(digest, static_cast<int>(graph_.constants.size()));
    if (is_new) graph_.constants.push_back({digest, bytes});
    return at->second;
  }

  /// What `tensor`, a constant, is made of.
  absl::StatusOr<std::vector<int>> ConstantsOf(const std::string& tensor) {
    if (const int producer = index_.Producer(tensor); producer >= 0) return made_of_.at(producer);
    ASSIGN_OR_RETURN(const int number,
                     NumberOfConstant(tensor, model_.initializers().at(tensor).tensor.bytes().size()));
    return std::vector<int>{number};
  }

  /// A node that is computed from weights alone: what it is made of.
  absl::Status AddConstantNode(int node) {
    const onnx::NodeProto& proto = index_.node(node);
    std::vector<int> made_of;
    for (const std::string& input : index_.Inputs(node)) {
      ASSIGN_OR_RETURN(const std::vector<int> constants, ConstantsOf(input));
      made_of.insert(made_of.end(), constants.begin(), constants.end());
    }
    std::sort(made_of.begin(), made_of.end());
    made_of.erase(std::unique(made_of.begin(), made_of.end()), made_of.end());
    uint64_t bytes = 0;
    if (proto.op_type() == "Constant") {
      bytes = proto.ByteSizeLong();
      for (const onnx::AttributeProto& attribute : proto.attribute()) {
        if (attribute.has_t() && !attribute.t().raw_data().empty()) bytes = attribute.t().raw_data().size();
      }
    }
    // What is made of very many counts as one of its own, so that chains of such stay linear.
    for (const int constant : made_of) {
      bytes = std::min(kMostBytes, bytes + graph_.constants[static_cast<size_t>(constant)].bytes);
    }
    if ((made_of.empty() && bytes > 0) || made_of.size() > kMaxMadeOf) {
      ASSIGN_OR_RETURN(const int number, NumberOfConstant(index_.Outputs(node).front(), bytes));
      made_of = {number};
    }
    made_of_.emplace(node, std::move(made_of));
    return absl::OkStatus();
  }

  absl::Status AddNode(int number) {
    const onnx::NodeProto& proto = index_.node(number);
    ProductGraph::Node node;
    node.index = number;
    node.is_portal = proto.domain() == kPorticoDomain;
    if (node.is_portal) {
      ASSIGN_OR_RETURN(node.shareable, AnswersTheSame(proto));
    } else {
      node.shareable = determinism_.IsDeterministic(proto) || IsKnownContrib(model_.proto(), proto);
    }
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
        ASSIGN_OR_RETURN(const std::vector<int> made_of, ConstantsOf(tensor));
        for (const int constant : made_of) {
          if (constants.insert(constant).second) node.constants.push_back(constant);
        }
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
  /// Of constant nodes: numbers of the constants that they are computed from.
  absl::flat_hash_map<int, std::vector<int>> made_of_;
};

}  // namespace

absl::StatusOr<ProductGraph> ProductGraph::Create(const Model& model, const GraphIndex& index) {
  RETURN_IF_ERROR(CheckPortalPlaces(model.proto()));
  ASSIGN_OR_RETURN(TensorDigests digests, TensorDigests::Create(model, TensorDigests::Inputs::kByDtype));
  return Builder(model, index, std::move(digests)).Run();
}

}  // namespace portico
