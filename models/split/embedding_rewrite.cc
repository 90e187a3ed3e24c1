#include "models/split/embedding_rewrite.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/graph/graph_plan.h"
#include "models/graph/node_reads.h"
#include "models/graph/portal_spec.h"
#include "models/split/graph_constants.h"
#include "models/split/portal_node.h"
#include "models/split/submodel.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// From Unsqueeze and Squeeze of this version on, axes are an input.
constexpr int64_t kAxesAreInputs = 13;

class Rewriter {
 public:
  Rewriter(const Model& model, const GraphIndex& index, const LookupGraph& lookups, absl::string_view group,
           const Digest& source)
      : model_(model), index_(index), lookups_(lookups), group_(group), source_(source), opset_(OpsetOf(model)) {}

  absl::StatusOr<Model> Run() {
    const onnx::ModelProto& source = model_.proto();
    auto proto = std::make_unique<onnx::ModelProto>();
    proto->set_model_version(source.model_version());
    proto->set_doc_string(source.doc_string());
    *proto->mutable_metadata_props() = source.metadata_props();
    onnx::GraphProto& graph = *proto->mutable_graph();
    graph.set_name(source.graph().name());
    graph.set_doc_string(source.graph().doc_string());
    for (const auto& input : source.graph().input()) {
      if (index_.IsInput(input.name())) *graph.add_input() = input;
    }
    *graph.mutable_output() = source.graph().output();
    for (const auto& node : source.graph().node()) {
      names_.insert(node.name());
      names_.insert(node.output().begin(), node.output().end());
    }
    AddNodes(graph);
    DropDead(graph);
    ASSIGN_OR_RETURN(const Model complete, CompleteModel(model_, index_, std::move(proto)));
    return Sorted(complete);
  }

 private:
  void AddNodes(onnx::GraphProto& graph) {
    absl::flat_hash_set<int> replaced;
    std::map<int, std::vector<const GraphLookup*>> levels;
    for (const GraphLookup& lookup : lookups_.lookups) {
      replaced.insert(lookup.node);
      levels[lookup.level].push_back(&lookup);
    }
    for (const int node : index_.order()) {
      if (!index_.IsConstantNode(node) && !replaced.contains(node)) *graph.add_node() = index_.node(node);
    }
    for (const auto& [level, lookups] : levels) AddPortal(lookups, graph);
  }

  void AddPortal(const std::vector<const GraphLookup*>& lookups, onnx::GraphProto& graph) {
    onnx::NodeProto portal;
    portal.set_domain(std::string(kPorticoDomain));
    portal.set_op_type("EmbeddingBag");
    portal.set_name(NewName(std::string(group_)));
    bool with_end = false;
    for (const GraphLookup* lookup : lookups) {
      with_end = with_end || (!lookup->offsets.empty() && lookup->offsets_without_end.empty());
    }
    std::vector<std::string> tables, poolings, forms, paddings, id_kinds;
    std::vector<int64_t> dims, weighted;
    std::vector<TensorSpec> outputs;
    for (const GraphLookup* lookup : lookups) {
      const TableWeight& table = lookups_.tables[lookup->table];
      const bool csr = !lookup->offsets.empty();
      portal.add_input(lookup->ids);
      if (csr) portal.add_input(with_end ? lookup->offsets : lookup->offsets_without_end);
      if (!lookup->weights.empty()) portal.add_input(Weights(*lookup, graph));
      tables.push_back(table.weight);
      dims.push_back(static_cast<int64_t>(table.dim()));
      poolings.emplace_back(PoolingName(lookup->pooling));
      forms.emplace_back(csr ? "csr" : "padded");
      weighted.push_back(lookup->weights.empty() ? 0 : 1);
      paddings.push_back(lookup->padding.has_value() ? absl::StrCat(*lookup->padding) : "");
      id_kinds.emplace_back(IdKindName(IdKind::kDense));
      outputs.push_back(lookup->rows_type);
      portal.add_output(Output(*lookup, graph));
      outputs.back().graph_name = portal.output(portal.output_size() - 1);
      if (!index_.IsOutput(outputs.back().graph_name)) SetValueInfo(outputs.back(), graph.add_value_info());
    }
    AddString("target", group_, &portal);
    AddStrings("tables", tables, &portal);
    AddInts("dims", dims, &portal);
    AddStrings("poolings", poolings, &portal);
    AddStrings("forms", forms, &portal);
    AddInts("weighted", weighted, &portal);
    AddStrings("paddings", paddings, &portal);
    AddStrings("id_kinds", id_kinds, &portal);
    if (with_end) AddInt("include_last_offset", 1, &portal);
    AddString("source", source_.Hex(), &portal);
    AddOutputTypes(outputs, &portal);
    *graph.add_node() = std::move(portal);
  }

  /// What the portal's input is: a factor for each id.
  std::string Weights(const GraphLookup& lookup, onnx::GraphProto& graph) {
    if (!lookup.squeeze_weights) return lookup.weights;
    return AddAxisNode("Squeeze", lookup.weights, lookup.rows_type.dims.size(), NewName(lookup.weights + "/flat"),
                       graph);
  }

  /// What the portal's output is called; from there to the tensor that the graph had.
  std::string Output(const GraphLookup& lookup, onnx::GraphProto& graph) {
    const DType dtype = lookups_.tables[lookup.table].values.dtype();
    std::string name = lookup.output;
    if (dtype != DType::kFloat) {
      onnx::NodeProto* cast = graph.add_node();
      cast->set_op_type("Cast");
      cast->add_output(name);
      name = NewName(lookup.output + "/float");
      cast->add_input(name);
      cast->set_name(cast->output(0));
      AddInt("to", static_cast<int64_t>(dtype), cast);
    }
    if (lookup.kept_axis < 0) return name;
    const std::string rows = NewName(lookup.output + "/rows");
    AddAxisNode("Unsqueeze", rows, static_cast<size_t>(lookup.kept_axis), name, graph);
    return rows;
  }

  std::string AddAxisNode(absl::string_view op_type, const std::string& input, size_t axis, const std::string& output,
                          onnx::GraphProto& graph) {
    onnx::NodeProto node;
    node.set_op_type(std::string(op_type));
    node.set_name(output);
    node.add_input(input);
    node.add_output(output);
    if (opset_ < kAxesAreInputs) {
      AddInts("axes", {static_cast<int64_t>(axis)}, &node);
    } else {
      onnx::NodeProto* constant = graph.add_node();
      constant->set_op_type("Constant");
      constant->add_output(NewName(output + "/axis"));
      constant->set_name(constant->output(0));
      AddInts("value_ints", {static_cast<int64_t>(axis)}, constant);
      node.add_input(constant->output(0));
    }
    *graph.add_node() = std::move(node);
    return output;
  }

  std::string NewName(const std::string& wanted) {
    std::string name = wanted;
    for (int i = 2; !names_.insert(name).second || index_.Exists(name); ++i) name = absl::StrCat(wanted, "_", i);
    return name;
  }

  /// Removes nodes whose outputs nobody reads any more.
  static void DropDead(onnx::GraphProto& graph) {
    absl::flat_hash_map<std::string, int> producer;
    for (int i = 0; i < graph.node_size(); ++i) {
      for (const std::string& output : graph.node(i).output()) producer[output] = i;
    }
    std::vector<bool> live(static_cast<size_t>(graph.node_size()));
    std::vector<int> open;
    const auto need = [&](absl::string_view tensor) {
      const auto it = producer.find(tensor);
      if (it == producer.end() || live[it->second]) return;
      live[it->second] = true;
      open.push_back(it->second);
    };
    for (const auto& output : graph.output()) need(output.name());
    while (!open.empty()) {
      const int node = open.back();
      open.pop_back();
      for (const absl::string_view tensor : TensorsRead(graph.node(node))) need(tensor);
    }
    google::protobuf::RepeatedPtrField<onnx::NodeProto> nodes;
    for (int i = 0; i < graph.node_size(); ++i) {
      if (live[i]) *nodes.Add() = std::move(*graph.mutable_node(i));
    }
    graph.mutable_node()->Swap(&nodes);
  }

  /// With nodes in an order in which they can run.
  static absl::StatusOr<Model> Sorted(const Model& model) {
    auto proto = std::make_unique<onnx::ModelProto>(model.proto());
    ASSIGN_OR_RETURN(const GraphIndex index, GraphIndex::Create(model.proto()));
    google::protobuf::RepeatedPtrField<onnx::NodeProto> nodes;
    for (const int node : index.order()) *nodes.Add() = index.node(node);
    proto->mutable_graph()->mutable_node()->Swap(&nodes);
    // What was written has to say what was meant.
    for (const auto& node : proto->graph().node()) {
      if (node.domain() == kPorticoDomain) RETURN_IF_ERROR(ReadPortalSpec(node).status());
    }
    return Model::WithWeightsOf(model, std::move(proto));
  }

  const Model& model_;
  const GraphIndex& index_;
  const LookupGraph& lookups_;
  const absl::string_view group_;
  const Digest source_;
  const int64_t opset_;
  /// Of nodes and tensors.
  absl::flat_hash_set<std::string> names_;
};

}  // namespace

absl::StatusOr<Model> RewriteLookups(const Model& model, const GraphIndex& index, const LookupGraph& lookups,
                                     absl::string_view group, const Digest& source) {
  return Rewriter(model, index, lookups, group, source).Run();
}

}  // namespace portico
