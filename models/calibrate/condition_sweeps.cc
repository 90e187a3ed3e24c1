#include "models/calibrate/condition_sweeps.h"

#include <cmath>
#include <utility>

#include "base/check.h"

namespace portico {
namespace {

bool Equal(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

}  // namespace

RowOutcomes CompareDecisions(absl::Span<const double> trigger, absl::Span<const double> full,
                             absl::Span<const double> labels) {
  RowOutcomes outcomes;
  for (size_t i = 0; i < trigger.size(); ++i) {
    outcomes.agrees.push_back(Equal(trigger[i], full[i]));
    if (labels.empty()) continue;
    outcomes.trigger_right.push_back(Equal(trigger[i], labels[i]));
    outcomes.full_right.push_back(Equal(full[i], labels[i]));
  }
  return outcomes;
}

void ConditionSweeps::Add(TunableCondition condition, std::vector<std::vector<double>> columns,
                          absl::Span<const DType> dtypes) {
  using Op = Expression::Op;
  const size_t thresholds = condition.thresholds.size(), fixed = condition.fixed.size();
  PORTICO_CHECK(columns.size() == thresholds + fixed);
  std::vector<SweepMeasure> measures;
  for (size_t i = 0; i < thresholds; ++i) {
    const Op op = condition.thresholds[i].op;
    measures.push_back({.values = std::move(columns[i]),
                        .holds_below = condition.thresholds[i].below(),
                        .holds_equal = op == Op::kLessOrEqual || op == Op::kGreaterOrEqual,
                        .is_float32 = dtypes[i] == DType::kFloat});
  }
  // What each way that the fixed parts turn out makes of the thresholds.
  std::vector<uint8_t> truth_of(size_t{1} << fixed);
  for (uint32_t mask = 0; mask < truth_of.size(); ++mask) {
    for (uint32_t way = 0; way < 4; ++way) {
      if (condition.Holds(way, mask)) truth_of[mask] = static_cast<uint8_t>(truth_of[mask] | 1 << way);
    }
  }
  std::vector<uint8_t> truths(outcomes_.agrees.size());
  for (size_t row = 0; row < truths.size(); ++row) {
    uint32_t mask = 0;
    for (size_t i = 0; i < fixed; ++i) mask |= (columns[thresholds + i][row] != 0 ? 1u : 0u) << i;
    truths[row] = truth_of[mask];
  }
  const size_t begin = points_.size();
  ThresholdSweep sweep(std::move(measures), truths, outcomes_);
  points_.insert(points_.end(), sweep.points().begin(), sweep.points().end());
  swept_.push_back({std::move(condition), std::move(sweep), begin});
}

absl::Span<const SweepPoint> ConditionSweeps::PointsOf(size_t index) const {
  const size_t end = index + 1 < swept_.size() ? swept_[index + 1].begin : points_.size();
  return absl::MakeConstSpan(points_).subspan(swept_[index].begin, end - swept_[index].begin);
}

const ConditionSweeps::Swept& ConditionSweeps::SweptOf(size_t point) const {
  size_t index = 0;
  while (index + 1 < swept_.size() && swept_[index + 1].begin <= point) ++index;
  return swept_[index];
}

std::string ConditionSweeps::When(size_t point) const {
  const Swept& swept = SweptOf(point);
  return swept.condition.With(swept.sweep.Numbers(points_[point]));
}

}  // namespace portico
