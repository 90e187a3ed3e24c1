#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// Labels in the order of their names, so that equal ones compare equal. For a histogram without `le`.
using SeriesLabels = std::map<std::string, std::string>;

/// A histogram: how many observations were at most each bound, rising; the last bound is infinite.
struct HistogramCounts {
  std::vector<std::pair<double, double>> buckets;
  double sum = 0;

  double count() const { return buckets.empty() ? 0 : buckets.back().second; }
};

/// What a node's /metrics said at one time.
class MetricsText {
 public:
  /// Reads Prometheus' text format, counters, gauges and histograms. INVALID_ARGUMENT with the line for what is none.
  static absl::StatusOr<MetricsText> Parse(absl::string_view text);

  /// All series of a name; empty where there are none.
  const std::map<SeriesLabels, double>& Values(const std::string& name) const;
  const std::map<SeriesLabels, HistogramCounts>& Histograms(const std::string& name) const;

 private:
  std::map<std::string, std::map<SeriesLabels, double>> values_;
  std::map<std::string, std::map<SeriesLabels, HistogramCounts>> histograms_;
};

/// Observations between two readings. A histogram that counts fewer than before was begun anew: all of it is new.
HistogramCounts NewObservations(const HistogramCounts& before, const HistogramCounts& now);
/// The same of a counter.
double NewCount(double before, double now);
/// Adds observations, bound by bound. Histograms of other bounds are not added.
void AddObservations(const HistogramCounts& more, HistogramCounts* sum);

/// The value that a share `quantile` (0 to 1) of the observations did not exceed, taken to lie evenly between bounds.
/// NaN where there are none. Of what exceeds the last finite bound only that bound is known.
double QuantileOf(const HistogramCounts& histogram, double quantile);

}  // namespace portico
