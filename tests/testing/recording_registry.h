#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/metric.h"

namespace portico {

/// Remembers what was counted, by "NAME LABEL=VALUE LABEL=VALUE". For one thread.
class RecordingRegistry final : public MetricRegistry {
 public:
  struct Series final : Counter, Gauge, Histogram {
    void Add(double amount) override { value += amount; }
    void Set(double v) override { value = v; }
    void Observe(double v) override {
      value = v;
      ++observed;
    }
    double value = 0;
    int observed = 0;
  };
  Counter& NewCounter(absl::string_view name, absl::string_view, const MetricLabels& labels) override {
    return Get(name, labels);
  }
  Gauge& NewGauge(absl::string_view name, absl::string_view, const MetricLabels& labels) override {
    return Get(name, labels);
  }
  Histogram& NewHistogram(absl::string_view name, absl::string_view, const MetricLabels& labels,
                          const std::vector<double>&) override {
    return Get(name, labels);
  }
  Series& Get(absl::string_view name, const MetricLabels& labels) {
    std::string key(name);
    for (const auto& [label, value] : labels) absl::StrAppend(&key, " ", label, "=", value);
    return series[key];
  }
  std::map<std::string, Series> series;
};

}  // namespace portico
