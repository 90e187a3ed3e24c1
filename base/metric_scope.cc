#include "base/metric_scope.h"

namespace portico {

MetricScope::~MetricScope() {
  MutexLock lock(&mutex_);
  for (const void* metric : made_) registry_.Release(metric);
}

void MetricScope::Keep(const void* metric) {
  MutexLock lock(&mutex_);
  if (!made_.insert(metric).second) registry_.Release(metric);
}

Counter& MetricScope::NewCounter(absl::string_view name, absl::string_view help, const MetricLabels& labels) {
  Counter& counter = registry_.NewCounter(name, help, labels);
  Keep(&counter);
  return counter;
}

Gauge& MetricScope::NewGauge(absl::string_view name, absl::string_view help, const MetricLabels& labels) {
  Gauge& gauge = registry_.NewGauge(name, help, labels);
  Keep(&gauge);
  return gauge;
}

Histogram& MetricScope::NewHistogram(absl::string_view name, absl::string_view help, const MetricLabels& labels,
                                     const std::vector<double>& buckets) {
  Histogram& histogram = registry_.NewHistogram(name, help, labels, buckets);
  Keep(&histogram);
  return histogram;
}

}  // namespace portico
