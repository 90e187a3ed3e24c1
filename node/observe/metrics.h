#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/metric.h"

namespace portico {

/// Metrics kept by prometheus-cpp. Thread-safe; making a series locks, changing one does not.
class PrometheusMetrics : public MetricRegistry {
 public:
  static std::unique_ptr<PrometheusMetrics> Create();
  /// `source` is asked at every Expose() for more of it: of names that are nobody else's. For set-up.
  virtual void AddSource(std::function<std::string()> source) = 0;
  /// The text exposition format of all series.
  virtual std::string Expose() const = 0;
};

}  // namespace portico
