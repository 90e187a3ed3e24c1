#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/dtype.h"
#include "models/calibrate/frontier.h"
#include "models/calibrate/threshold_sweep.h"
#include "models/calibrate/tunable_condition.h"

namespace portico {

/// Who answers which row how, of what two models decided of each and, where there are labels, what is right. NaN is
/// what NaN is.
RowOutcomes CompareDecisions(absl::Span<const double> trigger, absl::Span<const double> full,
                             absl::Span<const double> labels);

/// Several conditions over the same rows, each swept; their points stand side by side, so that the best of all can be
/// chosen. Points are numbered through in the order of Add(). For one thread.
class ConditionSweeps {
 public:
  explicit ConditionSweeps(RowOutcomes outcomes) : outcomes_(std::move(outcomes)) {}

  /// `columns`: what each threshold of `condition` measures of every row, then what is true (1) of each fixed part;
  /// `dtypes` of them.
  void Add(TunableCondition condition, std::vector<std::vector<double>> columns, absl::Span<const DType> dtypes);

  int64_t rows() const { return static_cast<int64_t>(outcomes_.agrees.size()); }
  const RowOutcomes& outcomes() const { return outcomes_; }
  const std::vector<SweepPoint>& points() const { return points_; }
  size_t conditions() const { return swept_.size(); }
  const TunableCondition& condition(size_t index) const { return swept_[index].condition; }
  /// Points of condition `index`.
  absl::Span<const SweepPoint> PointsOf(size_t index) const;
  /// The condition as it is written for a point.
  std::string When(size_t point) const;

 private:
  struct Swept {
    TunableCondition condition;
    ThresholdSweep sweep;
    size_t begin;
  };
  const Swept& SweptOf(size_t point) const;

  const RowOutcomes outcomes_;
  std::vector<Swept> swept_;
  std::vector<SweepPoint> points_;
};

}  // namespace portico
