#include "node/observe/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace portico {
namespace {

class PrometheusCounter final : public Counter {
 public:
  explicit PrometheusCounter(prometheus::Counter& counter) : counter_(counter) {}
  void Add(double amount) override { counter_.Increment(amount); }

 private:
  prometheus::Counter& counter_;
};

class PrometheusGauge final : public Gauge {
 public:
  explicit PrometheusGauge(prometheus::Gauge& gauge) : gauge_(gauge) {}
  void Add(double amount) override { gauge_.Increment(amount); }
  void Set(double value) override { gauge_.Set(value); }

 private:
  prometheus::Gauge& gauge_;
};

class PrometheusHistogram final : public Histogram {
 public:
  explicit PrometheusHistogram(prometheus::Histogram& histogram) : histogram_(histogram) {}
  void Observe(double value) override { histogram_.Observe(value); }

 private:
  prometheus::Histogram& histogram_;
};

/// The adapters made so far, by the prometheus-cpp object behind them: the same series gives the same object.
template <typename Adapter, typename Metric>
class Adapters {
 public:
  Adapter& Of(prometheus::Family<Metric>& family, Metric& metric) {
    Made& made = made_[&metric];
    if (made.adapter == nullptr) {
      made = {std::make_unique<Adapter>(metric), &family, &metric, 0};
      by_adapter_[made.adapter.get()] = &made;
    }
    ++made.uses;
    return *made.adapter;
  }

  /// Takes one use back, with the last one the series. False when it is not one of these.
  bool Release(const void* adapter) {
    const auto found = by_adapter_.find(adapter);
    if (found == by_adapter_.end()) return false;
    Made& made = *found->second;
    if (--made.uses > 0) return true;
    const Metric* const metric = made.metric;
    by_adapter_.erase(found);
    made.family->Remove(made.metric);
    made_.erase(metric);
    return true;
  }

 private:
  struct Made {
    std::unique_ptr<Adapter> adapter;
    prometheus::Family<Metric>* family = nullptr;
    Metric* metric = nullptr;
    int64_t uses = 0;
  };
  std::map<const Metric*, Made> made_;
  std::map<const void*, Made*> by_adapter_;
};

class Metrics final : public PrometheusMetrics {
 public:
  Counter& NewCounter(absl::string_view name, absl::string_view help, const MetricLabels& labels) override {
    MutexLock lock(&mutex_);
    auto& family = prometheus::BuildCounter().Name(std::string(name)).Help(std::string(help)).Register(registry_);
    return counters_.Of(family, family.Add({labels.begin(), labels.end()}));
  }

  Gauge& NewGauge(absl::string_view name, absl::string_view help, const MetricLabels& labels) override {
    MutexLock lock(&mutex_);
    auto& family = prometheus::BuildGauge().Name(std::string(name)).Help(std::string(help)).Register(registry_);
    return gauges_.Of(family, family.Add({labels.begin(), labels.end()}));
  }

  Histogram& NewHistogram(absl::string_view name, absl::string_view help, const MetricLabels& labels,
                          const std::vector<double>& buckets) override {
    MutexLock lock(&mutex_);
    auto& family = prometheus::BuildHistogram().Name(std::string(name)).Help(std::string(help)).Register(registry_);
    return histograms_.Of(family, family.Add({labels.begin(), labels.end()}, buckets));
  }

  void Release(const void* metric) override {
    MutexLock lock(&mutex_);
    if (!counters_.Release(metric) && !gauges_.Release(metric)) histograms_.Release(metric);
  }

  void AddSource(std::function<std::string()> source) override { sources_.push_back(std::move(source)); }

  std::string Expose() const override {
    std::string text = prometheus::TextSerializer().Serialize(registry_.Collect());
    for (const auto& source : sources_) text += source();
    return text;
  }

 private:
  std::vector<std::function<std::string()>> sources_;
  Mutex mutex_;
  prometheus::Registry registry_;
  Adapters<PrometheusCounter, prometheus::Counter> counters_ ABSL_GUARDED_BY(mutex_);
  Adapters<PrometheusGauge, prometheus::Gauge> gauges_ ABSL_GUARDED_BY(mutex_);
  Adapters<PrometheusHistogram, prometheus::Histogram> histograms_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<PrometheusMetrics> PrometheusMetrics::Create() { return std::make_unique<Metrics>(); }

}  // namespace portico
