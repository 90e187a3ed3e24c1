#include <algorithm>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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
    RETURN_IF_ERROR(AddWatch(stage, &call));
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

  /// What is declared of how the stage is watched, and with a brown-out how much each row needs it.
  absl::Status AddWatch(const BoundMember& stage, PortalCall* call) {
    CascadeWatch watch = stage.member->watch;
    // The portal's names are the member's own.
    for (std::string& name : watch.agreement_outputs) {
      const TensorSpec* ours = FindSpec(stage.outputs, name);
      const auto called = [&](size_t index) { return ours == &stage.outputs[index]; };
      if (!absl::c_any_of(call->outputs, called)) {
        return composition_.ErrorAt(stage.member->line,
                                    absl::StrCat("'", stage.member->model, "': audit: outputs: got '", name,
                                                 "', want answers of the cascade: ", absl::StrJoin(names_, ", ")));
      }
      name = stage.theirs.outputs[OutputIndex(stage, name)].name;
    }
    if (absl::Status sane = watch.Check(); !sane.ok()) return composition_.ErrorAt(stage.member->line, sane.message());
    AddAttributes(watch, &call->attributes);
    if (!watch.browns_out()) return absl::OkStatus();
    const bool own = !stage.member->by.empty();
    const int line = own ? stage.member->by_line : stage.member->when_line;
    const absl::StatusOr<Expression> expression = Expression::Parse(own ? stage.member->by : stage.member->when);
    if (!expression.ok()) return composition_.ErrorAt(line, expression.status().message());
    const absl::StatusOr<std::string> need = own ? CompileNumber(*expression, answers_, assembly_->ops())
                                                 : CompileMargin(*expression, answers_, assembly_->ops());
    if (!need.ok()) return composition_.ErrorAt(line, need.status().message());
    TensorSpec& input = call->inputs.emplace_back();
    input.graph_name = *need;
    input.dtype = DType::kFloat;
    input.dims = {{.symbol = std::string(kRowSymbol)}};
    assembly_->Declare(input);
    return absl::OkStatus();
  }

  /// Those that are not what they are without being said.
  static void AddAttributes(const CascadeWatch& watch, std::vector<OpAttribute>* attributes) {
    const CascadeWatch usual;
    const auto add_share = [&](absl::string_view name, double share, double otherwise) {
      if (share != otherwise) attributes->push_back({std::string(name), static_cast<float>(share)});
    };
    const auto add_time = [&](absl::string_view name, absl::Duration time, absl::Duration otherwise) {
      if (time != otherwise) attributes->push_back({std::string(name), absl::ToInt64Milliseconds(time)});
    };
    add_share("audit", watch.audit, usual.audit);
    if (watch.audit_max_in_flight != usual.audit_max_in_flight) {
      attributes->push_back({"audit_max_in_flight", watch.audit_max_in_flight});
    }
    add_time("audit_timeout_ms", watch.audit_timeout, usual.audit_timeout);
    if (!watch.agreement_outputs.empty()) attributes->push_back({"agreement_outputs", watch.agreement_outputs});
    add_share("agreement_tolerance", watch.agreement_tolerance, usual.agreement_tolerance);
    add_share("expected_escalated", watch.expected_escalated, usual.expected_escalated);
    add_share("expected_agreement", watch.expected_agreement, usual.expected_agreement);
    add_share("expected_escalated_within", watch.expected_escalated_within, usual.expected_escalated_within);
    add_share("expected_agreement_within", watch.expected_agreement_within, usual.expected_agreement_within);
    add_time("expected_over_ms", watch.expected_over, usual.expected_over);
    add_share("brown_out_max_shed", watch.max_shed, usual.max_shed);
    add_time("brown_out_slower_than_ms", watch.slower_than, usual.slower_than);
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
