#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "models/calibrate/row_values.h"
#include "models/calibrate/stage_runner.h"
#include "models/calibrate/trial_data.h"
#include "models/compose/composition.h"
#include "models/compose/expression.h"
#include "models/compose/member.h"

namespace portico {

/// What both models of a cascade said of the same rows, as numbers.
struct TrialColumns {
  int64_t rows = 0;
  /// Of the trigger's answers what was asked for, a value per row each, and what type that has.
  std::vector<std::vector<double>> of_trigger;
  std::vector<DType> dtypes;
  /// What each decides of a row: where that is text, `texts` has its numbers.
  std::vector<double> trigger_decision;
  std::vector<double> full_decision;
  bool decides_text = false;
  TextNumbers texts;
};

/// What a row costs, alone.
struct TrialCost {
  absl::Duration trigger;
  absl::Duration full;
  /// Rows per run with which it was measured; 0: it was not measured.
  int64_t batch = 0;
};

/// A cascade of two stages tried out in this process: both models answer all rows, whatever the condition says, so
/// that any condition can be judged afterwards. For one thread.
class CascadeTrial {
 public:
  /// Binds both stages as composing does, with the same errors. INVALID_ARGUMENT for what is no cascade of two stages.
  /// `composition` is not owned and must outlive this.
  static absl::StatusOr<std::unique_ptr<CascadeTrial>> Create(const Composition& composition,
                                                              const FindIngredient& find);

  /// What the data has to hold.
  const std::vector<TensorSpec>& inputs() const { return inputs_; }
  /// What conditions may look at: outputs of the trigger.
  const std::vector<TensorSpec>& trigger_outputs() const { return trigger_->stage().outputs; }
  /// What both answer, which says whether they agree; a subset of the trigger's outputs.
  const std::vector<TensorSpec>& answers() const { return answers_; }

  /// The trigger's answers to the first rows, at most `batch`. INVALID_ARGUMENT where there is none.
  absl::StatusOr<std::vector<Tensor>> Sample(TrialData& data, int64_t batch);
  /// Those of trigger_outputs() that are answers(), of what Sample() gave.
  std::vector<Tensor> AnswersOf(const std::vector<Tensor>& trigger_outputs) const;

  /// Runs both over all rows, `batch` at a time. `decision`: what of the answers is compared, one value per row.
  /// `progress` is told how many rows are done after each batch.
  absl::StatusOr<TrialColumns> Run(TrialData& data, int64_t batch, const std::vector<RowValues::Wanted>& of_trigger,
                                   const Expression& decision, const std::function<void(int64_t)>& progress);

  /// Measures the CPU time of a row at each, in runs of the first rows, for about `time` each.
  absl::StatusOr<TrialCost> Measure(TrialData& data, int64_t batch, absl::Duration time);

 private:
  CascadeTrial() = default;
  /// What the full model may take: the inputs, and what of the trigger's outputs is no answer.
  std::vector<NamedTensor> FullInputs(const std::vector<NamedTensor>& inputs,
                                      const std::vector<Tensor>& trigger_outputs) const;
  std::vector<Tensor> FullAnswers(const std::vector<Tensor>& full_outputs) const;

  std::unique_ptr<StageRunner> trigger_;
  std::unique_ptr<StageRunner> full_;
  std::vector<TensorSpec> inputs_;
  std::vector<TensorSpec> answers_;
};

}  // namespace portico
