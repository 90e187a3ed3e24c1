#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "cli/metrics_text.h"

namespace portico {

/// What happened at a node between two readings of its metrics. Series that have gone are left out; those that came, or
/// began anew because the node did, count from zero. Views both readings.
class MetricWindow {
 public:
  /// Values of the labels that were asked for, in their order.
  using Key = std::vector<std::string>;
  using Filter = std::function<bool(const SeriesLabels&)>;

  MetricWindow(const MetricsText& before, const MetricsText& now) : before_(before), now_(now) {}

  /// Sums of what a counter counted, over series that agree in `by`. Empty `filter`: all series.
  std::map<Key, double> Counted(const std::string& name, const std::vector<std::string>& by,
                                const Filter& filter = {}) const;
  /// The same of a histogram.
  std::map<Key, HistogramCounts> Observed(const std::string& name, const std::vector<std::string>& by) const;
  /// Sums of a gauge as it is now.
  std::map<Key, double> Gauged(const std::string& name, const std::vector<std::string>& by) const;

 private:
  const MetricsText& before_;
  const MetricsText& now_;
};

/// The label's value; empty where there is none.
std::string LabelOf(const SeriesLabels& labels, const std::string& name);

}  // namespace portico
