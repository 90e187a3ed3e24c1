#include "models/calibrate/frontier.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace portico {
namespace {

/// Shares are decimal fractions: 10 % of 30 rows is 3, whatever binary makes of it.
constexpr double kRounding = 1e-9;

int64_t AtMost(double share, int64_t rows) {
  return static_cast<int64_t>(std::floor(share * static_cast<double>(rows) + kRounding));
}
int64_t AtLeast(double share, int64_t rows) {
  return static_cast<int64_t>(std::ceil(share * static_cast<double>(rows) - kRounding));
}

std::string Percent(double share) { return absl::StrFormat("%.6g %%", 100 * share); }

}  // namespace

std::vector<size_t> Frontier(absl::Span<const SweepPoint> points) {
  std::vector<size_t> order(points.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::make_tuple(points[a].escalated, -points[a].agreeing, -points[a].right, a) <
           std::make_tuple(points[b].escalated, -points[b].agreeing, -points[b].right, b);
  });
  std::vector<size_t> frontier;
  for (const size_t point : order) {
    if (frontier.empty() || points[point].agreeing > points[frontier.back()].agreeing) frontier.push_back(point);
  }
  return frontier;
}

std::string TuneBudget::Text() const {
  std::vector<std::string> parts;
  if (max_escalated) parts.push_back(absl::StrFormat("at most %s of the rows escalated", Percent(*max_escalated)));
  if (min_agreement) parts.push_back(absl::StrFormat("at least %s agreement", Percent(*min_agreement)));
  if (min_accuracy) parts.push_back(absl::StrFormat("at least %s accuracy", Percent(*min_accuracy)));
  return absl::StrJoin(parts, " and ");
}

bool Fits(const SweepPoint& point, int64_t rows, const TuneBudget& budget) {
  return (!budget.max_escalated || point.escalated <= AtMost(*budget.max_escalated, rows)) &&
         (!budget.min_agreement || point.agreeing >= AtLeast(*budget.min_agreement, rows)) &&
         (!budget.min_accuracy || point.right >= AtLeast(*budget.min_accuracy, rows));
}

std::optional<size_t> ChoosePoint(absl::Span<const SweepPoint> points, int64_t rows, const TuneBudget& budget) {
  const bool quality = budget.min_agreement || budget.min_accuracy;
  // The less the better.
  const auto rank = [&](const SweepPoint& point) {
    return std::make_tuple(quality ? point.escalated : 0, -point.agreeing, -point.right, point.escalated);
  };
  std::optional<size_t> best;
  for (size_t i = 0; i < points.size(); ++i) {
    if (!Fits(points[i], rows, budget)) continue;
    if (!best || rank(points[i]) < rank(points[*best])) best = i;
  }
  return best;
}

NearestPoints FindNearest(absl::Span<const SweepPoint> points, int64_t rows, const TuneBudget& budget) {
  NearestPoints nearest;
  if (budget.max_escalated) {
    nearest.within_escalation = ChoosePoint(points, rows, {.max_escalated = budget.max_escalated});
  }
  TuneBudget quality = budget;
  quality.max_escalated.reset();
  if (!quality.empty()) nearest.with_quality = ChoosePoint(points, rows, quality);
  if (!nearest.with_quality && !nearest.within_escalation) {
    // The quality cannot be had at any cost: the best there is.
    const auto worse = [&](const SweepPoint& a, const SweepPoint& b) {
      return budget.min_accuracy ? a.right < b.right : a.agreeing < b.agreeing;
    };
    nearest.within_escalation =
        static_cast<size_t>(std::max_element(points.begin(), points.end(), worse) - points.begin());
  }
  return nearest;
}

}  // namespace portico
