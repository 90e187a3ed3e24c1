#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "models/calibrate/threshold_sweep.h"

namespace portico {

/// Points of `points` (indices) that none beats: no other escalates at most as many rows and agrees in more, or fewer
/// rows and agrees in as many. By rising escalation. Of equal points the first.
std::vector<size_t> Frontier(absl::Span<const SweepPoint> points);

/// What is asked of a cascade, as shares of the rows.
struct TuneBudget {
  std::optional<double> max_escalated;
  std::optional<double> min_agreement;
  /// Of labels.
  std::optional<double> min_accuracy;

  bool empty() const { return !max_escalated && !min_agreement && !min_accuracy; }
  /// "at most 10 % escalated and at least 99.5 % agreement".
  std::string Text() const;
};

/// Whether a point of `rows` rows keeps to the budget.
bool Fits(const SweepPoint& point, int64_t rows, const TuneBudget& budget);

/// The best point (index) within the budget: the one that escalates the fewest rows where a quality is asked for, else
/// the one that agrees in most, among these the one that is right more often, then that escalates fewer. None: no point
/// keeps to it.
std::optional<size_t> ChoosePoint(absl::Span<const SweepPoint> points, int64_t rows, const TuneBudget& budget);

/// Why none does: the nearest points from either side, each the best where the other limits are left out. For the
/// message; REQUIRES: ChoosePoint() gives none, and there is a point.
struct NearestPoints {
  /// With the allowed escalation, the best quality there is; none where no escalation was asked for.
  std::optional<size_t> within_escalation;
  /// With the quality asked for, the fewest rows; none where that quality cannot be had.
  std::optional<size_t> with_quality;
};
NearestPoints FindNearest(absl::Span<const SweepPoint> points, int64_t rows, const TuneBudget& budget);

}  // namespace portico
