#include "models/share/share.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/graph/graph_plan.h"
#include "models/graph/portal_spec.h"
#include "models/share/module_shapes.h"
#include "models/split/portal_node.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// A module as it came out of one product.
struct Cut {
  int product = -1;
  SplitModel split;
  /// Places of its portals among its nodes, in the same order in each product.
  std::vector<int> portals;
};

absl::StatusOr<std::vector<int>> PlacesOf(const std::vector<std::string>& portals, const SplitModel& split) {
  std::vector<int> places;
  const auto& nodes = split.model.proto().graph().node();
  for (const std::string& output : portals) {
    const auto node = std::find_if(nodes.begin(), nodes.end(), [&](const onnx::NodeProto& one) {
      return one.domain() == kPorticoDomain && std::count(one.output().begin(), one.output().end(), output) > 0;
    });
    if (node == nodes.end()) {
      return absl::InternalError(absl::StrCat("module '", split.name, "': got no portal that computes '", output, "'"));
    }
    places.push_back(static_cast<int>(node - nodes.begin()));
  }
  return places;
}

/// The model of `cut` under another graph, which is the same but for what it declares.
absl::StatusOr<SplitModel> Redeclared(const SplitModel& cut, std::unique_ptr<onnx::ModelProto> proto) {
  ASSIGN_OR_RETURN(Model model, Model::WithWeightsOf(cut.model, std::move(proto)));
  ASSIGN_OR_RETURN(const Digest digest, ModelDigest(model));
  return SplitModel{cut.name, std::move(model), digest};
}

/// The shapes that portals declare belong to the graph, and every product has its own names for extents: `outputs`,
/// those of all portals one after the other, are what the module has.
absl::Status DeclarePortals(const std::vector<int>& portals, absl::Span<const TensorSpec> outputs,
                            onnx::GraphProto* graph) {
  for (const int place : portals) {
    onnx::NodeProto* node = graph->mutable_node(place);
    ASSIGN_OR_RETURN(const PortalSpec spec, ReadPortalSpec(*node));
    SetOutputShapes(outputs.subspan(0, spec.outputs.size()), node);
    outputs.remove_prefix(spec.outputs.size());
  }
  return absl::OkStatus();
}

/// The module that all of `cuts` are, with shapes that fit all of them. FAILED_PRECONDITION where they are not one.
absl::StatusOr<SplitModel> Unite(absl::Span<const Product> products, const std::vector<Cut>& cuts) {
  std::vector<ModuleCut> declared;
  for (const Cut& cut : cuts) {
    declared.push_back({&cut.split.model.proto().graph(), {}});
    for (const int place : cut.portals) {
      ASSIGN_OR_RETURN(const PortalSpec spec, ReadPortalSpec(declared.back().graph->node(place)));
      declared.back().portal_outputs.insert(declared.back().portal_outputs.end(), spec.outputs.begin(),
                                            spec.outputs.end());
    }
  }
  for (const ModuleCut& cut : declared) {
    if (cut.portal_outputs.size() == declared.front().portal_outputs.size()) continue;
    return absl::InternalError(
        absl::StrCat("module '", cuts.front().split.name, "': got portals of other outputs out of another product"));
  }
  const Cut& first = cuts.front();
  auto proto = std::make_unique<onnx::ModelProto>(first.split.model.proto());
  const std::vector<TensorSpec> outputs = FitShapes(declared, proto->mutable_graph());
  RETURN_IF_ERROR(DeclarePortals(first.portals, outputs, proto->mutable_graph()));
  ASSIGN_OR_RETURN(SplitModel module, Redeclared(first.split, std::move(proto)));
  for (const Cut& cut : cuts) {
    Digest digest = cut.split.digest;
    if (!cut.portals.empty()) {
      auto own = std::make_unique<onnx::ModelProto>(cut.split.model.proto());
      RETURN_IF_ERROR(DeclarePortals(cut.portals, outputs, own->mutable_graph()));
      ASSIGN_OR_RETURN(const SplitModel redeclared, Redeclared(cut.split, std::move(own)));
      digest = redeclared.digest;
    }
    if (digest == module.digest) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("module '", module.name, "': got digest ", digest.Short(), " out of product '",
                     products[static_cast<size_t>(cut.product)].name, "', want ", module.digest.Short(), " as of '",
                     products[static_cast<size_t>(first.product)].name,
                     "'; the two are not the same after all, please report it; --min-bytes leaves it out"));
  }
  return module;
}

/// `product`, whose portals were made for the modules as they were cut, with the digests that these have in the end.
absl::StatusOr<SplitModel> CallingModules(SplitModel product, const std::vector<const SplitModel*>& modules) {
  auto proto = std::make_unique<onnx::ModelProto>(product.model.proto());
  bool changed = false;
  for (onnx::NodeProto& node : *proto->mutable_graph()->mutable_node()) {
    if (node.domain() != kPorticoDomain) continue;
    ASSIGN_OR_RETURN(const PortalSpec spec, ReadPortalSpec(node));
    for (const SplitModel* module : modules) {
      if (spec.target != module->name || spec.digest == module->digest) continue;
      SetString("digest", module->digest.Hex(), &node);
      changed = true;
    }
  }
  if (!changed) return product;
  return Redeclared(product, std::move(proto));
}

absl::StatusOr<SplitModel> Copy(const SplitModel& split) {
  ASSIGN_OR_RETURN(Model model,
                   Model::WithWeightsOf(split.model, std::make_unique<onnx::ModelProto>(split.model.proto())));
  return SplitModel{split.name, std::move(model), split.digest};
}

}  // namespace

absl::StatusOr<SharedModels> CutShared(absl::Span<const Product> products, const SharingProposal& proposal) {
  SharedModels shared;
  std::vector<std::vector<Cut>> cuts(proposal.modules.size());
  for (size_t p = 0; p < products.size(); ++p) {
    SplitPlan plan;
    plan.product = products[p].name;
    std::vector<int> modules;
    std::vector<const SharedModule::Use*> uses;
    for (size_t m = 0; m < proposal.modules.size(); ++m) {
      for (const SharedModule::Use& use : proposal.modules[m].uses) {
        if (use.product != static_cast<int>(p)) continue;
        plan.parts.push_back(use.part);
        modules.push_back(static_cast<int>(m));
        uses.push_back(&use);
      }
    }
    if (modules.empty()) continue;
    absl::StatusOr<std::vector<SplitModel>> split = Split(products[p].graph(), plan);
    if (!split.ok()) return WithContext(absl::StrCat("product '", products[p].name, "'"), split.status());
    for (size_t i = 0; i < modules.size(); ++i) {
      ASSIGN_OR_RETURN(std::vector<int> portals, PlacesOf(uses[i]->portals, (*split)[i + 1]));
      cuts[static_cast<size_t>(modules[i])].push_back(
          {static_cast<int>(p), std::move((*split)[i + 1]), std::move(portals)});
    }
    shared.products.push_back({static_cast<int>(p), std::move(split->front()), std::move(modules)});
  }
  for (const std::vector<Cut>& module : cuts) {
    ASSIGN_OR_RETURN(SplitModel united, Unite(products, module));
    shared.modules.push_back(std::move(united));
  }
  for (SharedModels::Rewritten& rewritten : shared.products) {
    std::vector<const SplitModel*> modules;
    for (const int module : rewritten.modules) modules.push_back(&shared.modules[static_cast<size_t>(module)]);
    ASSIGN_OR_RETURN(rewritten.model, CallingModules(std::move(rewritten.model), modules));
  }
  return shared;
}

absl::StatusOr<VerifyReport> VerifyShared(const Product& product, const SharedModels& shared,
                                          const SharedModels::Rewritten& rewritten, const VerifyOptions& options) {
  std::vector<SplitModel> split;
  ASSIGN_OR_RETURN(SplitModel copy, Copy(rewritten.model));
  split.push_back(std::move(copy));
  for (const int module : rewritten.modules) {
    ASSIGN_OR_RETURN(SplitModel part, Copy(shared.modules[static_cast<size_t>(module)]));
    split.push_back(std::move(part));
  }
  absl::StatusOr<VerifyReport> report = VerifySplit(product.model, split, options);
  if (!report.ok()) return WithContext(absl::StrCat("product '", product.name, "'"), report.status());
  return report;
}

absl::Status WriteShared(SharedModels shared, const std::string& out, int64_t version) {
  if (shared.products.empty())
    return absl::InvalidArgumentError("got nothing to write, want a module and its products");
  // WriteSplit() puts its first last: modules are there before what calls them.
  std::vector<SplitModel> all;
  all.push_back(std::move(shared.products.front().model));
  std::move(shared.modules.begin(), shared.modules.end(), std::back_inserter(all));
  for (size_t i = 1; i < shared.products.size(); ++i) all.push_back(std::move(shared.products[i].model));
  return WriteSplit(all, out, version);
}

}  // namespace portico
