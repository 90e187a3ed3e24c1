#include "cli/metric_window.h"

namespace portico {
namespace {

MetricWindow::Key KeyOf(const SeriesLabels& labels, const std::vector<std::string>& by) {
  MetricWindow::Key key;
  for (const std::string& name : by) key.push_back(LabelOf(labels, name));
  return key;
}

}  // namespace

std::string LabelOf(const SeriesLabels& labels, const std::string& name) {
  const auto found = labels.find(name);
  return found == labels.end() ? "" : found->second;
}

std::map<MetricWindow::Key, double> MetricWindow::Counted(const std::string& name, const std::vector<std::string>& by,
                                                          const Filter& filter) const {
  std::map<Key, double> sums;
  const auto& before = before_.Values(name);
  for (const auto& [labels, value] : now_.Values(name)) {
    if (filter && !filter(labels)) continue;
    const auto old = before.find(labels);
    sums[KeyOf(labels, by)] += NewCount(old == before.end() ? 0 : old->second, value);
  }
  return sums;
}

std::map<MetricWindow::Key, HistogramCounts> MetricWindow::Observed(const std::string& name,
                                                                    const std::vector<std::string>& by) const {
  std::map<Key, HistogramCounts> sums;
  const auto& before = before_.Histograms(name);
  for (const auto& [labels, histogram] : now_.Histograms(name)) {
    const auto old = before.find(labels);
    AddObservations(old == before.end() ? histogram : NewObservations(old->second, histogram),
                    &sums[KeyOf(labels, by)]);
  }
  return sums;
}

std::map<MetricWindow::Key, double> MetricWindow::Gauged(const std::string& name,
                                                         const std::vector<std::string>& by) const {
  std::map<Key, double> sums;
  for (const auto& [labels, value] : now_.Values(name)) sums[KeyOf(labels, by)] += value;
  return sums;
}

}  // namespace portico
