#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/compose/compose.h"

namespace portico {
namespace {

/// Puts `added` over what has their names.
void Bring(const std::vector<TensorSpec>& added, std::vector<TensorSpec>& scope) {
  for (const TensorSpec& one : added) {
    const auto same = absl::c_find_if(scope, [&](const TensorSpec& spec) { return spec.name == one.name; });
    if (same == scope.end()) {
      scope.push_back(one);
    } else {
      *same = one;
    }
  }
}

/// INVALID_ARGUMENT at a step of which nothing is used: what it computes would be dropped without a word. `given`: the
/// outputs of each step; `used`: tensors that a step takes or the composition gives.
absl::Status CheckUsed(const Composition& composition, const std::vector<std::vector<TensorSpec>>& given,
                       const absl::flat_hash_set<std::string>& used) {
  for (size_t i = 0; i < given.size(); ++i) {
    const auto is_used = [&](const TensorSpec& spec) { return used.contains(spec.graph_name); };
    if (absl::c_any_of(given[i], is_used)) continue;
    const CompositionMember& step = composition.members[i];
    return composition.ErrorAt(
        step.line, absl::StrCat("'", step.model, "': got outputs that nothing takes (", NamesOf(given[i]),
                                "), want one of them as an input of a later step or among 'outputs'; steps run in the "
                                "order in which they stand: mend that, or rename with 'inputs' and 'outputs'"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ComposedModel> ComposeSequence(const Composition& composition, const FindIngredient& find) {
  std::vector<BoundMember> steps;
  for (const CompositionMember& member : composition.members) {
    ASSIGN_OR_RETURN(BoundMember step, BindMember(composition, member, false, find));
    steps.push_back(std::move(step));
  }
  std::vector<const BoundMember*> members;
  for (const BoundMember& step : steps) members.push_back(&step);
  ASSIGN_OR_RETURN(const auto assembly, GraphAssembly::Create(composition, members));
  std::vector<TensorSpec> scope, answers;
  std::vector<std::vector<TensorSpec>> given;
  absl::flat_hash_set<std::string> used;
  for (const BoundMember& step : steps) {
    ASSIGN_OR_RETURN(const std::vector<TensorSpec> inputs, assembly->Inputs(step, scope));
    for (const TensorSpec& input : inputs) used.insert(input.graph_name);
    answers = assembly->Call(step, inputs);
    Bring(answers, scope);
    given.push_back(answers);
  }
  if (!composition.outputs.empty()) {
    answers.clear();
    for (const std::string& name : composition.outputs) {
      const TensorSpec* output = FindSpec(scope, name);
      if (output == nullptr) {
        return composition.ErrorAt(
            composition.line, absl::StrCat("outputs: got '", name, "', want one that a step gives: ", NamesOf(scope)));
      }
      answers.push_back(*output);
    }
  }
  for (const TensorSpec& answer : answers) used.insert(answer.graph_name);
  RETURN_IF_ERROR(CheckUsed(composition, given, used));
  return std::move(*assembly).Finish(std::move(answers));
}

}  // namespace portico
