#include <algorithm>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/compose/common_outputs.h"
#include "models/compose/compose.h"
#include "models/compose/expression.h"
#include "models/compose/expression_compiler.h"

namespace portico {
namespace {

/// The cascade's graph: the first stage, then for each further one a condition over the answers so far and a `Cascade`
/// portal, which sends on the rows that it holds for. A row goes on to a stage only from the one before.
class CascadeComposer {
 public:
  CascadeComposer(const Composition& composition, const FindIngredient& find)
      : composition_(composition), find_(find) {}

  absl::StatusOr<ComposedModel> Run() {
    for (const CompositionMember& member : composition_.members) {
      const bool first = stages_.empty();
      if (!first && member.copied.value_or(false)) {
        return composition_.ErrorAt(member.line, absl::StrCat("'", member.model,
                                                              "': got inline: true for a further stage, want it "
                                                              "false; it is called for the rows that go on"));
      }
      ASSIGN_OR_RETURN(BoundMember stage, BindMember(composition_, member, first, find_));
      stages_.push_back(std::move(stage));
    }
    ASSIGN_OR_RETURN(names_, CommonOutputs(composition_, stages_));
    RETURN_IF_ERROR(CheckRows());
    std::vector<const BoundMember*> members;
    for (const BoundMember& stage : stages_) members.push_back(&stage);
    ASSIGN_OR_RETURN(assembly_, GraphAssembly::Create(composition_, members));
    ASSIGN_OR_RETURN(const std::vector<TensorSpec> inputs, assembly_->Inputs(stages_[0], {}));
    answers_ = assembly_->Call(stages_[0], inputs);
    for (const TensorSpec& answer : answers_) {
      if (!absl::c_linear_search(names_, answer.name)) scope_.push_back(answer);
    }
    for (size_t i = 1; i < stages_.size(); ++i) RETURN_IF_ERROR(AddStage(i));
    std::vector<TensorSpec> outputs;
    for (const std::string& name : names_) outputs.push_back(*FindSpec(answers_, name));
    if (composition_.row_status) outputs.push_back(status_);
    return std::move(*assembly_).Finish(std::move(outputs));
  }

 private:
  /// Answers are taken apart by rows.
  absl::Status CheckRows() const {
    for (const BoundMember& stage : stages_) {
      for (const std::string& name : names_) {
        const TensorSpec& answer = *FindSpec(stage.outputs, name);
        if (answer.axis == AxisKind::kRows) continue;
        return composition_.ErrorAt(
            stage.member->line,
            absl::StrCat("'", stage.member->model, "': output '", name, "': got ", answer.ToString(),
                         ", want one whose dim 0 counts rows; leave it out with 'outputs'"));
      }
      const auto rows = [](const TensorSpec& input) { return input.axis == AxisKind::kRows; };
      if (absl::c_any_of(stage.inputs, rows)) continue;
      return composition_.ErrorAt(stage.member->line, absl::StrCat("'", stage.member->model,
                                                                   "': got no input whose dim 0 counts rows, "
                                                                   "want one at least"));
    }
    return absl::OkStatus();
  }

  absl::Status AddStage(size_t index) {
    const BoundMember& stage = stages_[index];
    ASSIGN_OR_RETURN(const std::string escalate, Condition(*stage.member));
    PortalCall call{.op_type = "Cascade", .member = &stage, .leading = {escalate}};
    ASSIGN_OR_RETURN(call.inputs, assembly_->Inputs(stage, scope_));
    // The last stage answers; those before it also give what later conditions look at.
    const bool last = index + 1 == stages_.size();
    std::vector<TensorSpec*> merged;
    for (TensorSpec& answer : answers_) {
      const TensorSpec* theirs = FindSpec(stage.outputs, answer.name);
      const bool is_answer = absl::c_linear_search(names_, answer.name);
      if (theirs == nullptr || (!is_answer && (last || !Mismatch(*theirs, answer).empty()))) continue;
      merged.push_back(&answer);
    }
    if (stage.member->pinned) {
      // By position: in the member's order.
      absl::c_sort(merged, [&](const TensorSpec* a, const TensorSpec* b) {
        return OutputIndex(stage, a->name) < OutputIndex(stage, b->name);
      });
    }
    for (const TensorSpec* answer : merged) {
      call.leading.push_back(answer->graph_name);
      call.outputs.push_back(OutputIndex(stage, answer->name));
    }
    RETURN_IF_ERROR(CheckPinned(composition_, stage, call.outputs));
    call.row_status = composition_.row_status;
    call.attributes.push_back({"on_row_error", composition_.on_row_error});
    std::vector<std::string> shared;
    for (size_t i = 0; i < stage.inputs.size(); ++i) {
      if (stage.inputs[i].axis != AxisKind::kRows) shared.push_back(stage.theirs.inputs[i].name);
    }
    if (!shared.empty()) call.attributes.push_back({"shared_inputs", shared});
    const std::vector<TensorSpec> outputs = assembly_->AddPortal(call);
    for (size_t i = 0; i < merged.size(); ++i) merged[i]->graph_name = outputs[i].graph_name;
    if (composition_.row_status) MergeStatus(escalate, outputs.back());
    return absl::OkStatus();
  }

  /// bool[N]: the rows that go on to `stage`.
  absl::StatusOr<std::string> Condition(const CompositionMember& stage) {
    const absl::StatusOr<Expression> expression = Expression::Parse(stage.when);
    if (!expression.ok()) return composition_.ErrorAt(stage.when_line, expression.status().message());
    absl::StatusOr<std::string> escalate = CompileExpression(*expression, answers_, assembly_->ops());
    if (!escalate.ok()) return composition_.ErrorAt(stage.when_line, escalate.status().message());
    if (!escalate_.empty()) escalate = assembly_->ops().Add("And", {*escalate, escalate_});
    escalate_ = *escalate;
    assembly_->Declare({.graph_name = escalate_, .dtype = DType::kBool, .dims = {{.symbol = std::string(kRowSymbol)}}});
    return escalate_;
  }

  /// What the last stage says of the rows that went on to it; of others, what was known.
  void MergeStatus(const std::string& escalate, const TensorSpec& status) {
    const std::string before = std::exchange(status_, status).graph_name;
    if (before.empty()) return;
    // ONNX Runtime has no Where for int8.
    OpWriter& ops = assembly_->ops();
    const std::string now = ops.Cast(status.graph_name, DType::kInt32), then = ops.Cast(before, DType::kInt32);
    status_.graph_name = ops.Cast(ops.Add("Where", {escalate, now, then}), DType::kInt8);
  }

  const Composition& composition_;
  const FindIngredient& find_;
  std::vector<BoundMember> stages_;
  std::vector<std::string> names_;
  std::unique_ptr<GraphAssembly> assembly_;
  /// All outputs of the first stage, as far as later ones have them with the rows these answered.
  std::vector<TensorSpec> answers_;
  /// Outputs of the first stage that are no answers: inputs of later ones may be made of them.
  std::vector<TensorSpec> scope_;
  std::string escalate_;
  TensorSpec status_;
};

}  // namespace

absl::StatusOr<ComposedModel> ComposeCascade(const Composition& composition, const FindIngredient& find) {
  return CascadeComposer(composition, find).Run();
}

}  // namespace portico
