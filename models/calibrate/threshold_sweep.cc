#include "models/calibrate/threshold_sweep.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "models/calibrate/short_number.h"

namespace portico {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
/// Beyond it no threshold is put behind the last value: there need not be a number.
constexpr double kLargest = 1e30;

/// What escalating rows changes, for each of the four ways the comparisons may turn out: rows escalated, disagreements
/// mended, labels met more than before.
enum Count { kEscalated, kMended, kGained, kCounts };
using Cell = std::array<std::array<int32_t, kCounts>, 4>;

Cell& operator+=(Cell& left, const Cell& right) {
  for (size_t way = 0; way < 4; ++way) {
    for (size_t i = 0; i < kCounts; ++i) left[way][i] += right[way][i];
  }
  return left;
}

}  // namespace

ThresholdSweep::Axis ThresholdSweep::MakeAxis(const SweepMeasure& measure, size_t max_cuts) {
  Axis axis;
  axis.holds_below = measure.holds_below;
  // m < t and m >= t change at t = m; m <= t and m > t do behind it.
  axis.takes_low = measure.holds_below == measure.holds_equal;
  axis.is_float32 = measure.is_float32;
  std::vector<uint32_t> order;
  order.reserve(measure.values.size());
  for (size_t i = 0; i < measure.values.size(); ++i) {
    if (!std::isnan(measure.values[i])) order.push_back(static_cast<uint32_t>(i));
  }
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return measure.values[a] < measure.values[b]; });

  // A place before each distinct value, and one behind the last, as long as a number can stand there.
  std::vector<size_t> places;
  for (size_t i = 0; i <= order.size(); ++i) {
    if (i > 0 && i < order.size() && measure.values[order[i]] == measure.values[order[i - 1]]) continue;
    if (i == 0 && !order.empty() && measure.values[order[0]] < -kLargest) continue;
    if (i > 0 && i == order.size() && measure.values[order[i - 1]] > kLargest) continue;
    places.push_back(i);
  }
  if (places.size() > max_cuts) {
    // The last of those within each share of the rows, and both ends.
    std::vector<size_t> some = {places.front()};
    const double share = static_cast<double>(order.size()) / static_cast<double>(max_cuts - 1);
    for (size_t i = 1; i < places.size(); ++i) {
      const bool last = i + 1 == places.size();
      const auto of = [&](size_t place) { return std::floor(static_cast<double>(place) / share); };
      if (last || of(places[i]) != of(places[i + 1])) some.push_back(places[i]);
    }
    places = std::move(some);
  }
  const auto value = [&](size_t i) { return measure.values[order[i]]; };
  for (const size_t place : places) {
    axis.low.push_back(place == 0 ? -kInfinity : value(place - 1));
    axis.high.push_back(place == order.size() ? kInfinity : value(place));
  }
  // Below every threshold, or above, so that no comparison holds.
  axis.bins.assign(measure.values.size(), measure.holds_below ? static_cast<uint32_t>(places.size()) : 0);
  uint32_t bin = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    while (bin < places.size() && places[bin] <= i) ++bin;
    axis.bins[order[i]] = bin;
  }
  return axis;
}

/// Rows by the bins of both axes, of which there is one more than places; then sums over all bins up to each. Without a
/// second threshold all rows are below it, and nothing is true of it.
class ThresholdSweep::Table {
 public:
  explicit Table(const std::vector<Axis>& axes)
      : first_(axes[0]),
        second_(axes.size() == 2 ? &axes[1] : nullptr),
        height_(first_.low.size()),
        stride_(second_ == nullptr ? 1 : second_->low.size() + 1),
        cells_((height_ + 1) * stride_, Cell{}) {}

  size_t height() const { return height_; }
  size_t width() const { return second_ == nullptr ? 1 : stride_ - 1; }

  void Count(absl::Span<const uint8_t> truths, const RowOutcomes& outcomes) {
    for (size_t row = 0; row < truths.size(); ++row) {
      const bool agrees = outcomes.agrees[row] != 0;
      const int32_t gained =
          outcomes.labelled() ? (outcomes.full_right[row] != 0) - (outcomes.trigger_right[row] != 0) : 0;
      Cell& cell = cells_[first_.bins[row] * stride_ + (second_ == nullptr ? 0 : second_->bins[row])];
      for (size_t way = 0; way < 4; ++way) {
        if ((truths[row] >> way & 1) == 0) continue;
        cell[way][kEscalated] += 1;
        cell[way][kMended] += agrees ? 0 : 1;
        cell[way][kGained] += gained;
      }
    }
  }

  void SumUp() {
    for (size_t i = 0; i <= height_; ++i) {
      for (size_t j = 1; j < stride_; ++j) cells_[i * stride_ + j] += cells_[i * stride_ + j - 1];
      if (i == 0) continue;
      for (size_t j = 0; j < stride_; ++j) cells_[i * stride_ + j] += cells_[(i - 1) * stride_ + j];
    }
  }

  /// What changes with the thresholds at these places.
  std::array<int32_t, kCounts> At(size_t i, size_t j) const {
    // Rows are below a threshold where their bin is at most its place's number.
    const Cell& both = cells_[i * stride_ + j];
    const Cell& below_first = cells_[i * stride_ + stride_ - 1];
    const Cell& below_second = cells_[height_ * stride_ + j];
    const Cell& all = cells_.back();
    // Ways in which the comparisons turn out for rows on either side.
    const size_t below0 = first_.holds_below ? 1 : 0, above0 = 1 - below0;
    const size_t below1 = second_ != nullptr && second_->holds_below ? 2 : 0;
    const size_t above1 = second_ != nullptr ? 2 - below1 : 0;
    std::array<int32_t, kCounts> sums;
    for (size_t c = 0; c < kCounts; ++c) {
      const auto of = [c](const Cell& cell, size_t way) { return cell[way][c]; };
      const size_t bb = below0 + below1, ba = below0 + above1, ab = above0 + below1, aa = above0 + above1;
      sums[c] = of(both, bb) + (of(below_first, ba) - of(both, ba)) + (of(below_second, ab) - of(both, ab)) +
                (of(all, aa) - of(below_first, aa) - of(below_second, aa) + of(both, aa));
    }
    return sums;
  }

 private:
  const Axis& first_;
  const Axis* const second_;
  const size_t height_;
  const size_t stride_;
  std::vector<Cell> cells_;
};

ThresholdSweep::ThresholdSweep(std::vector<SweepMeasure> measures, absl::Span<const uint8_t> truths,
                               const RowOutcomes& outcomes, const Options& options) {
  PORTICO_CHECK(measures.size() == 1 || measures.size() == 2);
  PORTICO_CHECK(truths.size() <= static_cast<size_t>(std::numeric_limits<int32_t>::max()));
  const size_t max_cuts = measures.size() == 1 ? options.max_cuts_of_one : options.max_cuts_of_two;
  for (const SweepMeasure& measure : measures) {
    PORTICO_CHECK(measure.values.size() == truths.size());
    axes_.push_back(MakeAxis(measure, std::max<size_t>(max_cuts, 2)));
  }
  Table table(axes_);
  table.Count(truths, outcomes);
  table.SumUp();
  SweepPoint none;
  none.agreeing = std::accumulate(outcomes.agrees.begin(), outcomes.agrees.end(), int64_t{0});
  none.right = std::accumulate(outcomes.trigger_right.begin(), outcomes.trigger_right.end(), int64_t{0});
  points_.reserve(table.height() * table.width());
  for (size_t i = 0; i < table.height(); ++i) {
    for (size_t j = 0; j < table.width(); ++j) {
      const auto sums = table.At(i, j);
      SweepPoint point = none;
      point.cuts[0] = static_cast<uint32_t>(i);
      point.cuts[1] = static_cast<uint32_t>(j);
      point.escalated = sums[kEscalated];
      point.agreeing += sums[kMended];
      point.right += sums[kGained];
      points_.push_back(point);
    }
  }
}

std::vector<std::string> ThresholdSweep::Numbers(const SweepPoint& point) const {
  std::vector<std::string> numbers;
  for (size_t i = 0; i < axes_.size(); ++i) {
    const Axis& axis = axes_[i];
    numbers.push_back(ShortNumber({.low = axis.low[point.cuts[i]],
                                   .high = axis.high[point.cuts[i]],
                                   .takes_low = axis.takes_low,
                                   .is_float32 = axis.is_float32}));
  }
  return numbers;
}

}  // namespace portico
