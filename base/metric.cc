#include "base/metric.h"

namespace portico {
namespace {

class NullCounter final : public Counter {
 public:
  void Add(double) override {}
};
class NullGauge final : public Gauge {
 public:
  void Add(double) override {}
  void Set(double) override {}
};
class NullHistogram final : public Histogram {
 public:
  void Observe(double) override {}
};

class NullRegistry final : public MetricRegistry {
 public:
  Counter& NewCounter(absl::string_view, absl::string_view, const MetricLabels&) override { return counter_; }
  Gauge& NewGauge(absl::string_view, absl::string_view, const MetricLabels&) override { return gauge_; }
  Histogram& NewHistogram(absl::string_view, absl::string_view, const MetricLabels&,
                          const std::vector<double>&) override {
    return histogram_;
  }

 private:
  NullCounter counter_;
  NullGauge gauge_;
  NullHistogram histogram_;
};

}  // namespace

MetricRegistry& MetricRegistry::Null() {
  static NullRegistry& registry = *new NullRegistry;
  return registry;
}

const std::vector<double>& LatencyBuckets() {
  static const std::vector<double>& buckets = *new std::vector<double>{
      50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3, 200e-3, 500e-3, 1, 2, 5, 10};
  return buckets;
}

}  // namespace portico
