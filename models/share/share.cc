#include "models/share/share.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/share/module_shapes.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// The first of `cut`, with shapes that fit all of them.
absl::StatusOr<Model> FittingAll(const std::vector<std::pair<int, SplitModel>>& cut) {
  std::vector<const onnx::GraphProto*> graphs;
  for (const auto& [product, split] : cut) graphs.push_back(&split.model.proto().graph());
  const Model& first = cut.front().second.model;
  auto proto = std::make_unique<onnx::ModelProto>(first.proto());
  FitShapes(graphs, proto->mutable_graph());
  return Model::WithWeightsOf(first, std::move(proto));
}

absl::StatusOr<SplitModel> Copy(const SplitModel& split) {
  ASSIGN_OR_RETURN(Model model,
                   Model::WithWeightsOf(split.model, std::make_unique<onnx::ModelProto>(split.model.proto())));
  return SplitModel{split.name, std::move(model), split.digest};
}

}  // namespace

absl::StatusOr<SharedModels> CutShared(absl::Span<const Product> products, const SharingProposal& proposal) {
  SharedModels shared;
  std::vector<std::vector<std::pair<int, SplitModel>>> cut(proposal.modules.size());
  for (size_t p = 0; p < products.size(); ++p) {
    SplitPlan plan;
    plan.product = products[p].name;
    std::vector<int> modules;
    for (size_t m = 0; m < proposal.modules.size(); ++m) {
      for (const SharedModule::Use& use : proposal.modules[m].uses) {
        if (use.product != static_cast<int>(p)) continue;
        plan.parts.push_back(use.part);
        modules.push_back(static_cast<int>(m));
      }
    }
    if (modules.empty()) continue;
    absl::StatusOr<std::vector<SplitModel>> split = Split(products[p].graph(), plan);
    if (!split.ok()) return WithContext(absl::StrCat("product '", products[p].name, "'"), split.status());
    for (size_t i = 0; i < modules.size(); ++i) {
      cut[static_cast<size_t>(modules[i])].emplace_back(static_cast<int>(p), std::move((*split)[i + 1]));
    }
    shared.products.push_back({static_cast<int>(p), std::move(split->front()), std::move(modules)});
  }
  for (std::vector<std::pair<int, SplitModel>>& module : cut) {
    SplitModel& first = module.front().second;
    for (size_t i = 1; i < module.size(); ++i) {
      const SplitModel& other = module[i].second;
      if (other.digest != first.digest) {
        return absl::FailedPreconditionError(
            absl::StrCat("module '", first.name, "': got digest ", other.digest.Short(), " out of product '",
                         products[static_cast<size_t>(module[i].first)].name, "', want ", first.digest.Short(),
                         " as of '", products[static_cast<size_t>(module.front().first)].name,
                         "'; the two are not the same after all, please report it; --min-bytes leaves it out"));
      }
    }
    ASSIGN_OR_RETURN(first.model, FittingAll(module));
    shared.modules.push_back(std::move(first));
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
