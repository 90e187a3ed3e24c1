#include "models/calibrate/cascade_trial.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/compose/common_outputs.h"

namespace portico {
namespace {

/// Ends a Visit() that has seen enough.
absl::Status Enough() { return absl::CancelledError("enough"); }

}  // namespace

absl::StatusOr<std::unique_ptr<CascadeTrial>> CascadeTrial::Create(const Composition& composition,
                                                                   const FindIngredient& find) {
  if (composition.kind != Composition::Kind::kCascade || composition.members.size() != 2) {
    return composition.ErrorAt(
        composition.line,
        absl::StrCat("got ", composition.kind == Composition::Kind::kCascade ? "a cascade of " : "of ",
                     composition.members.size(),
                     " stages, want a cascade of two; tune two at a time, with --trigger and --full"));
  }
  auto trial = std::unique_ptr<CascadeTrial>(new CascadeTrial());
  std::vector<BoundMember> stages;
  for (const CompositionMember& member : composition.members) {
    // Both whole, however they are served.
    ASSIGN_OR_RETURN(BoundMember stage, BindMember(composition, member, false,
                                                   [&](const std::string& model, bool) { return find(model, true); }));
    stages.push_back(std::move(stage));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> names, CommonOutputs(composition, stages));
  for (const std::string& name : names) {
    if (const TensorSpec* spec = FindSpec(stages[0].outputs, name)) trial->answers_.push_back(*spec);
  }
  for (const BoundMember& stage : stages) {
    for (const TensorSpec& input : stage.inputs) {
      const bool of_trigger = &stage != &stages[0] && FindSpec(stages[0].outputs, input.name) != nullptr &&
                              FindSpec(trial->answers_, input.name) == nullptr;
      if (!of_trigger && FindSpec(trial->inputs_, input.name) == nullptr) trial->inputs_.push_back(input);
    }
  }
  ASSIGN_OR_RETURN(trial->trigger_, StageRunner::Create(std::move(stages[0])));
  ASSIGN_OR_RETURN(trial->full_, StageRunner::Create(std::move(stages[1])));
  return trial;
}

absl::StatusOr<std::vector<Tensor>> CascadeTrial::Sample(TrialData& data, int64_t batch) {
  std::vector<Tensor> outputs;
  const absl::Status visited = data.Visit(batch, [&](const std::vector<NamedTensor>& inputs, int64_t) {
    absl::StatusOr<std::vector<Tensor>> got = trigger_->Run(inputs);
    if (!got.ok()) return got.status();
    outputs = *std::move(got);
    return Enough();
  });
  if (!absl::IsCancelled(visited)) RETURN_IF_ERROR(visited);
  if (outputs.empty()) return absl::InvalidArgumentError("data: got no rows, want some");
  return outputs;
}

std::vector<Tensor> CascadeTrial::AnswersOf(const std::vector<Tensor>& trigger_outputs) const {
  std::vector<Tensor> answers;
  for (const TensorSpec& answer : answers_) {
    answers.push_back(trigger_outputs[OutputIndex(trigger_->stage(), answer.name)]);
  }
  return answers;
}

std::vector<Tensor> CascadeTrial::FullAnswers(const std::vector<Tensor>& full_outputs) const {
  std::vector<Tensor> answers;
  for (const TensorSpec& answer : answers_) {
    answers.push_back(full_outputs[OutputIndex(full_->stage(), answer.name)]);
  }
  return answers;
}

std::vector<NamedTensor> CascadeTrial::FullInputs(const std::vector<NamedTensor>& inputs,
                                                  const std::vector<Tensor>& trigger_outputs) const {
  std::vector<NamedTensor> all = inputs;
  for (size_t i = 0; i < trigger_outputs.size(); ++i) {
    const std::string& name = trigger_->stage().outputs[i].name;
    if (FindSpec(inputs_, name) == nullptr && FindSpec(answers_, name) == nullptr) {
      all.push_back({name, trigger_outputs[i]});
    }
  }
  return all;
}

absl::StatusOr<TrialColumns> CascadeTrial::Run(TrialData& data, int64_t batch,
                                               const std::vector<RowValues::Wanted>& of_trigger,
                                               const Expression& decision,
                                               const std::function<void(int64_t)>& progress) {
  TrialColumns columns;
  const RowValues::Wanted decided{&decision, static_cast<int>(decision.terms.size()) - 1};
  std::vector<RowValues::Wanted> wanted = of_trigger;
  wanted.push_back(decided);
  ASSIGN_OR_RETURN(const auto of_first, RowValues::Create(wanted, trigger_outputs(), columns.texts));
  ASSIGN_OR_RETURN(const auto of_full, RowValues::Create({decided}, answers_, columns.texts));
  std::vector<std::vector<double>> full;
  const absl::Status visited = data.Visit(batch, [&](const std::vector<NamedTensor>& inputs, int64_t rows) {
    ASSIGN_OR_RETURN(const std::vector<Tensor> cheap, trigger_->Run(inputs));
    ASSIGN_OR_RETURN(const std::vector<Tensor> answers, full_->Run(FullInputs(inputs, cheap)));
    RETURN_IF_ERROR(of_first->Append(cheap, rows, columns.of_trigger));
    RETURN_IF_ERROR(of_full->Append(FullAnswers(answers), rows, full));
    columns.rows += rows;
    progress(columns.rows);
    return absl::OkStatus();
  });
  RETURN_IF_ERROR(visited);
  if (columns.rows == 0) return absl::InvalidArgumentError("data: got no rows, want some");
  for (size_t i = 0; i < of_trigger.size(); ++i) columns.dtypes.push_back(of_first->dtype(i));
  columns.decides_text = of_full->dtype(0) == DType::kString;
  columns.trigger_decision = std::move(columns.of_trigger.back());
  columns.of_trigger.pop_back();
  columns.full_decision = std::move(full[0]);
  return columns;
}

absl::StatusOr<TrialCost> CascadeTrial::Measure(TrialData& data, int64_t batch, absl::Duration time) {
  TrialCost cost;
  const absl::Status visited = data.Visit(batch, [&](const std::vector<NamedTensor>& inputs, int64_t rows) {
    ASSIGN_OR_RETURN(const std::vector<Tensor> cheap, trigger_->Run(inputs));
    ASSIGN_OR_RETURN(cost.trigger, trigger_->MeasureCpu(inputs, time));
    ASSIGN_OR_RETURN(cost.full, full_->MeasureCpu(FullInputs(inputs, cheap), time));
    cost.trigger /= rows;
    cost.full /= rows;
    cost.batch = rows;
    return Enough();
  });
  if (!absl::IsCancelled(visited)) RETURN_IF_ERROR(visited);
  if (cost.batch == 0) return absl::InvalidArgumentError("data: got no rows, want some");
  return cost;
}

}  // namespace portico
