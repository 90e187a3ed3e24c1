#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/calibrate/cascade_trial.h"
#include "models/calibrate/threshold_sweep.h"

namespace portico {

/// How a cascade did over rows, in words and numbers: shares of rows, and what a row costs beside the full model
/// alone. A value.
class CascadeReport {
 public:
  /// One setting of the condition, or a model alone.
  struct Row {
    std::string when;
    SweepPoint point;
    /// Alone: of a cascade the trigger runs always.
    bool full_alone = false;
    bool chosen = false;
  };

  CascadeReport(int64_t rows, bool labelled, TrialCost cost) : rows_(rows), labelled_(labelled), cost_(cost) {}

  /// Rows that everybody wants to see beside the others.
  static Row TriggerAlone(const RowOutcomes& outcomes);
  static Row FullAlone(const RowOutcomes& outcomes);

  /// A line each, with titles; the chosen one is marked.
  std::string Table(const std::vector<Row>& rows) const;
  /// What the models cost, and with how many rows per run that was measured: "trigger 0.1 µs a row, …".
  std::string CostOfModels() const;
  /// What the column COST means, and that.
  std::string CostLine() const;
  /// What is known of the chosen row, with how sure it is for so many rows.
  std::string Chosen(const Row& row) const;

  /// In percent.
  double Escalated(const Row& row) const { return Percent(row.point.escalated); }
  double Agreement(const Row& row) const { return Percent(row.point.agreeing); }
  double Accuracy(const Row& row) const { return Percent(row.point.right); }
  /// Of CPU per row, beside the full model alone, in percent.
  double Cost(const Row& row) const;

 private:
  double Percent(int64_t rows) const { return 100 * static_cast<double>(rows) / static_cast<double>(rows_); }

  const int64_t rows_;
  const bool labelled_;
  const TrialCost cost_;
};

/// Between what shares `hits` of `rows` are with 95 % certainty, "98.2 to 99.8 %" (Wilson).
std::string ShareInterval(int64_t hits, int64_t rows);

}  // namespace portico
