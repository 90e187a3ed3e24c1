#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/cascade_flags.h"
#include "models/calibrate/cascade_trial.h"
#include "models/calibrate/trial_data.h"
#include "models/compose/composition.h"

namespace portico {

/// What a subcommand of `portico cascade` is about, opened: the cascade's two models, and the rows to try them on.
struct CascadeSubject {
  std::shared_ptr<const Composition> cascade;
  std::unique_ptr<CascadeTrial> trial;
  TrialData data{{}};
  /// One per row; invalid: none were given.
  Tensor labels;
  /// Recorded requests that were left out, and why the first was.
  int64_t left_out = 0;
  std::string why_left_out;
  /// The model whose recorded requests count: --log-model, else the mesh file's cascade; empty: any.
  std::string log_model;
  /// Requests to other models: left out, or where any model's count, taken beside those to `first_model`.
  int64_t to_others = 0;
  std::string first_model;

  /// INVALID_ARGUMENT for flags that don't go together, NOT_FOUND for files that are not there, and what is wrong with
  /// them.
  static absl::StatusOr<CascadeSubject> Open(const CascadeFlags& flags);

  /// What of the answers is compared: what the flags say, or what suits them.
  absl::StatusOr<Expression> Decision(const CascadeFlags& flags, const std::vector<Tensor>& sample) const;

  /// Runs both models over all rows, with a line of progress where standard error is a terminal.
  absl::StatusOr<TrialColumns> Run(const CascadeFlags& flags, const std::vector<RowValues::Wanted>& of_trigger,
                                   const Expression& decision);

  /// The labels as numbers like those of `columns`; empty: there are none.
  absl::StatusOr<std::vector<double>> Labels(const TrialColumns& columns) const;

  /// What is looked at, for the head of what is printed.
  std::string Intro(const Expression& decision, int64_t rows, bool labelled) const;

  /// Measured, or as the flags say.
  absl::StatusOr<TrialCost> Cost(const CascadeFlags& flags);
};

/// To standard output, at once.
void PrintText(const std::string& text);

}  // namespace portico
