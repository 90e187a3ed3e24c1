#pragma once

#include <set>
#include <vector>

#include "base/metric.h"
#include "base/mutex.h"

namespace portico {

/// The metrics of something that goes before the registry does, such as a loaded version of a model: made through the
/// scope, they are removed from the registry with it. What others made too, under the same name and labels, stays until
/// they let go of it as well. Thread-safe.
class MetricScope final : public MetricRegistry {
 public:
  /// `registry` is not owned and must outlive it.
  explicit MetricScope(MetricRegistry& registry) : registry_(registry) {}
  /// REQUIRES: nobody uses what was made through it any more.
  ~MetricScope() override;
  MetricScope(const MetricScope&) = delete;
  MetricScope& operator=(const MetricScope&) = delete;

  Counter& NewCounter(absl::string_view name, absl::string_view help, const MetricLabels& labels) override;
  Gauge& NewGauge(absl::string_view name, absl::string_view help, const MetricLabels& labels) override;
  Histogram& NewHistogram(absl::string_view name, absl::string_view help, const MetricLabels& labels,
                          const std::vector<double>& buckets) override;

 private:
  void Keep(const void* metric);

  MetricRegistry& registry_;
  Mutex mutex_;
  /// Each made once as far as the registry knows.
  std::set<const void*> made_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
