#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
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
  for (const BoundMember& step : steps) {
    ASSIGN_OR_RETURN(const std::vector<TensorSpec> inputs, assembly->Inputs(step, scope));
    answers = assembly->Call(step, inputs);
    Bring(answers, scope);
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
  return std::move(*assembly).Finish(std::move(answers));
}

}  // namespace portico
