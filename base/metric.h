#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace portico {

/// Names and values that tell the series of one metric apart. Values must come from a bounded set.
using MetricLabels = std::vector<std::pair<std::string, std::string>>;

/// Only goes up. Thread-safe, lock-free.
class Counter {
 public:
  virtual ~Counter() = default;
  virtual void Add(double amount) = 0;
  void Increment() { Add(1); }
};

/// Goes up and down. Thread-safe, lock-free.
class Gauge {
 public:
  virtual ~Gauge() = default;
  virtual void Add(double amount) = 0;
  virtual void Set(double value) = 0;
};

/// Counts observations in fixed buckets. Thread-safe.
class Histogram {
 public:
  virtual ~Histogram() = default;
  virtual void Observe(double value) = 0;
};

/// Where metrics are made, once, at set-up. Returned objects are not owned and live as long as the registry, unless
/// released; the same name and labels give the same object. Thread-safe.
class MetricRegistry {
 public:
  virtual ~MetricRegistry() = default;
  virtual Counter& NewCounter(absl::string_view name, absl::string_view help, const MetricLabels& labels) = 0;
  virtual Gauge& NewGauge(absl::string_view name, absl::string_view help, const MetricLabels& labels) = 0;
  /// `buckets`: upper bounds, rising.
  virtual Histogram& NewHistogram(absl::string_view name, absl::string_view help, const MetricLabels& labels,
                                  const std::vector<double>& buckets) = 0;
  /// Takes back one making of the metric at that address. It is removed once all who made it have done so: use
  /// MetricScope (metric_scope.h).
  virtual void Release(const void* /*metric*/) {}

  /// Forgets everything it is told: for tools and tests that export nothing. Never destroyed.
  static MetricRegistry& Null();
};

/// Upper bounds in seconds for latencies, 50 µs to 10 s.
const std::vector<double>& LatencyBuckets();

}  // namespace portico
