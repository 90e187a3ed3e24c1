#include "models/split/split.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "models/graph/graph_plan.h"
#include "models/runtime/session.h"
#include "models/split/cut.h"
#include "models/split/graph_index.h"
#include "models/split/portal_inputs.h"
#include "models/split/portal_node.h"
#include "models/split/submodel.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

using TensorTypes = absl::flat_hash_map<std::string, TensorSpec>;

/// Dtype and shape of the tensors at `cuts`, by exposing them as outputs of the graph and asking ONNX Runtime.
absl::StatusOr<TensorTypes> LearnTypes(const Model& model, const GraphIndex& index, const std::vector<Cut>& cuts) {
  std::vector<std::string> exposed;
  std::vector<std::string> described;
  for (const Cut& cut : cuts) {
    exposed.insert(exposed.end(), cut.inputs.begin(), cut.inputs.end());
    exposed.insert(exposed.end(), cut.outputs.begin(), cut.outputs.end());
    described.push_back(absl::StrCat("part '", cut.plan->name, "': ", absl::StrJoin(cut.inputs, ", "), " -> ",
                                     absl::StrJoin(cut.outputs, ", ")));
  }
  std::sort(exposed.begin(), exposed.end());
  exposed.erase(std::unique(exposed.begin(), exposed.end()), exposed.end());
  ASSIGN_OR_RETURN(const std::optional<Model> without, PortalsAsInputs(model));
  const Model& plain = without.has_value() ? *without : model;
  absl::flat_hash_set<std::string> known;
  for (const auto& input : plain.proto().graph().input()) known.insert(input.name());
  std::erase_if(exposed, [&](const std::string& name) { return known.contains(name) || index.IsOutput(name); });
  ASSIGN_OR_RETURN(RunnableModel runnable, MakeRunnable(plain, exposed));
  Session::Options options;
  options.optimize = false;
  options.prepack = false;
  options.name = "the unsplit model";
  absl::StatusOr<std::unique_ptr<Session>> session =
      Session::Create(runnable.proto, std::move(runnable.weights), options);
  if (!session.ok()) {
    return WithContext(
        absl::StrCat("asking ONNX Runtime for the types of the tensors at cuts (", absl::StrJoin(described, "; "), ")"),
        session.status());
  }
  TensorTypes types;
  for (const std::vector<TensorSpec>* specs : {&(*session)->inputs(), &(*session)->outputs()}) {
    for (const TensorSpec& spec : *specs) types[spec.name] = spec;
  }
  return types;
}

/// Splits one model; splits inside its parts go through a Splitter of their own.
class Splitter {
 public:
  Splitter(const Model& model, const std::string& product, const std::vector<PartPlan>& parts)
      : model_(model), product_(product), parts_(parts) {}

  absl::StatusOr<std::vector<SplitModel>> Run() {
    ASSIGN_OR_RETURN(const GraphIndex index, GraphIndex::Create(model_.proto()));
    ASSIGN_OR_RETURN(const CutGraph cut_graph, CutParts(index, parts_));
    ASSIGN_OR_RETURN(types_, LearnTypes(model_, index, cut_graph.cuts));
    std::vector<SplitModel> models;
    std::vector<Digest> digests;
    for (const Cut& cut : cut_graph.cuts) {
      ASSIGN_OR_RETURN(std::vector<SplitModel> part, MakePart(index, cut));
      digests.push_back(part.back().digest);
      std::move(part.begin(), part.end(), std::back_inserter(models));
    }
    ASSIGN_OR_RETURN(SplitModel product, MakeProduct(index, cut_graph, digests));
    models.insert(models.begin(), std::move(product));
    return models;
  }

 private:
  /// The part last, behind what it was split into.
  absl::StatusOr<std::vector<SplitModel>> MakePart(const GraphIndex& index, const Cut& cut) {
    auto proto = std::make_unique<onnx::ModelProto>();
    onnx::GraphProto& graph = *proto->mutable_graph();
    graph.set_name(cut.plan->name);
    for (const std::string& input : cut.inputs) SetValueInfo(types_[input], graph.add_input());
    for (const std::string& output : cut.outputs) SetValueInfo(types_[output], graph.add_output());
    for (const int node : cut.nodes) *graph.add_node() = index.node(node);
    ASSIGN_OR_RETURN(Model model, CompleteModel(model_, index, std::move(proto)));
    if (cut.plan->parts.empty()) {
      std::vector<SplitModel> result;
      ASSIGN_OR_RETURN(const Digest digest, ModelDigest(model));
      result.push_back({cut.plan->name, std::move(model), digest});
      return result;
    }
    absl::StatusOr<std::vector<SplitModel>> result = Splitter(model, cut.plan->name, cut.plan->parts).Run();
    if (!result.ok()) return WithContext(absl::StrCat("inside part '", cut.plan->name, "'"), result.status());
    std::rotate(result->begin(), result->begin() + 1, result->end());
    return result;
  }

  absl::StatusOr<SplitModel> MakeProduct(const GraphIndex& index, const CutGraph& cut_graph,
                                         const std::vector<Digest>& digests) {
    const onnx::GraphProto& original = model_.proto().graph();
    auto proto = std::make_unique<onnx::ModelProto>();
    proto->set_model_version(model_.proto().model_version());
    proto->set_doc_string(model_.proto().doc_string());
    *proto->mutable_metadata_props() = model_.proto().metadata_props();
    onnx::GraphProto& graph = *proto->mutable_graph();
    graph.set_name(original.name());
    graph.set_doc_string(original.doc_string());
    for (const auto& input : original.input()) {
      if (index.IsInput(input.name())) *graph.add_input() = input;
    }
    *graph.mutable_output() = original.output();
    absl::flat_hash_set<std::string> names;
    for (const auto& node : original.node()) names.insert(node.name());
    for (const CutStep& step : cut_graph.steps) {
      if (step.cut < 0) {
        *graph.add_node() = index.node(step.node);
        continue;
      }
      const Cut& cut = cut_graph.cuts[step.cut];
      std::string name = cut.plan->name;
      for (int i = 2; !names.insert(name).second; ++i) name = absl::StrCat(cut.plan->name, "_", i);
      SetPortal(cut, name, digests[step.cut], graph.add_node());
      for (const std::string& output : cut.outputs) {
        if (!index.IsOutput(output)) SetValueInfo(types_[output], graph.add_value_info());
      }
    }
    ASSIGN_OR_RETURN(Model model, CompleteModel(model_, index, std::move(proto)));
    ASSIGN_OR_RETURN(const Digest digest, ModelDigest(model));
    return SplitModel{product_, std::move(model), digest};
  }

  /// See PortalSpec for the attributes.
  void SetPortal(const Cut& cut, const std::string& name, const Digest& digest, onnx::NodeProto* node) {
    node->set_domain(std::string(kPorticoDomain));
    node->set_op_type("Remote");
    node->set_name(name);
    for (const std::string& input : cut.inputs) node->add_input(input);
    for (const std::string& output : cut.outputs) node->add_output(output);
    AddString("target", cut.plan->name, node);
    AddString("signature", kDefaultSignature, node);
    AddString("digest", digest.Hex(), node);
    AddStrings("input_names", cut.inputs, node);
    AddStrings("output_names", cut.outputs, node);
    std::vector<TensorSpec> outputs;
    for (const std::string& output : cut.outputs) outputs.push_back(types_[output]);
    AddOutputTypes(outputs, node);
  }

  const Model& model_;
  const std::string& product_;
  const std::vector<PartPlan>& parts_;
  TensorTypes types_;
};

}  // namespace

absl::StatusOr<std::vector<SplitModel>> Split(const Model& model, const SplitPlan& plan) {
  RETURN_IF_ERROR(CheckSplitPlan(plan));
  return Splitter(model, plan.product, plan.parts).Run();
}

}  // namespace portico
