#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "result_cache/result_cache.h"
#include "tests/testing/fakes.h"

namespace portico {

/// Counts what is counted, by name and the last label.
class CountingMetrics final : public MetricRegistry {
 public:
  class Number final : public Counter, public Gauge {
   public:
    void Add(double amount) override { value = value + amount; }
    void Set(double to) override { value = to; }
    std::atomic<double> value{0};
  };
  Counter& NewCounter(absl::string_view name, absl::string_view, const MetricLabels& labels) override {
    return At(name, labels);
  }
  Gauge& NewGauge(absl::string_view name, absl::string_view, const MetricLabels& labels) override {
    return At(name, labels);
  }
  Histogram& NewHistogram(absl::string_view name, absl::string_view help, const MetricLabels& labels,
                          const std::vector<double>& buckets) override {
    return MetricRegistry::Null().NewHistogram(name, help, labels, buckets);
  }
  double rows(const std::string& result) { return numbers_["portico_result_cache_rows_total/" + result].value; }

 private:
  Number& At(absl::string_view name, const MetricLabels& labels) {
    return numbers_[std::string(name) + "/" + (labels.empty() ? "" : labels.back().second)];
  }
  std::map<std::string, Number> numbers_;
};

/// A cache in front of a function that the test holds: out = 2 * in, row by row, of float[N,D].
class ResultCacheTest : public testing::Test {
 protected:
  using Result = absl::StatusOr<std::vector<Tensor>>;
  struct Held {
    Ref<const RequestContext> context;
    std::vector<Tensor> inputs;
    ResultCache::Done done;
  };

  ResultCacheTest() { Build({true}); }
  void Build(std::vector<bool> row_inputs) {
    ResultCache::Options options;
    options.signature = "serving_default";
    options.row_inputs = std::move(row_inputs);
    options.batch_rows = 2;
    options.on_looked = [this](bool all, absl::Duration) { looked_.push_back(all); };
    cache_ = std::make_unique<ResultCache>(
        std::move(options), std::make_shared<AnswerStore>(AnswerStore::kMinBytes),
        [this](Ref<const RequestContext> context, std::vector<Tensor> inputs, ResultCache::Done done) {
          runs_.push_back(inputs[0].rows());
          Held held{std::move(context), std::move(inputs), std::move(done)};
          if (!hold_) return Complete(std::move(held));
          held_.push_back(std::move(held));
        },
        workers_, timer_, clock_, metrics_);
  }
  void Complete(Held held) {
    const Tensor& in = held.inputs[0];
    std::vector<float> doubled;
    for (const float value : in.data<float>()) doubled.push_back(2 * value);
    held.done(std::vector<Tensor>{Tensor::Of<float>(in.shape(), absl::MakeConstSpan(doubled))});
  }
  void CompleteNext() {
    Held held = std::move(held_.front());
    held_.pop_front();
    Complete(std::move(held));
  }
  void FailNext(absl::Status status) {
    Held held = std::move(held_.front());
    held_.pop_front();
    held.done(std::move(status));
  }
  size_t Submit(std::vector<Tensor> inputs, Ref<RequestContext> context = MakeRef<RequestContext>()) {
    const size_t call = results_.size();
    results_.emplace_back();
    cache_->Run(std::move(context), std::move(inputs), [this, call](Result result) {
      EXPECT_FALSE(results_[call].has_value());
      results_[call] = std::move(result);
    });
    return call;
  }
  size_t SubmitRows(std::vector<float> values, Ref<RequestContext> context = MakeRef<RequestContext>()) {
    return Submit({Column(values)}, std::move(context));
  }
  static Tensor Column(const std::vector<float>& values) {
    return Tensor::Of<float>({static_cast<int64_t>(values.size()), 1}, absl::MakeConstSpan(values));
  }
  std::vector<float> Values(size_t call) {
    if (!results_[call].has_value() || !results_[call]->ok()) {
      ADD_FAILURE() << (results_[call].has_value() ? results_[call]->status().ToString() : "no answer");
      return {};
    }
    const Tensor& tensor = (**results_[call])[0];
    EXPECT_EQ(tensor.shape()[1], 1);
    return {tensor.data<float>().begin(), tensor.data<float>().end()};
  }
  absl::StatusCode Code(size_t call) {
    return results_[call].has_value() ? results_[call]->status().code() : absl::StatusCode::kUnknown;
  }

  FakeClock clock_;
  FakeTimer timer_{clock_};
  ManualExecutor workers_;
  CountingMetrics metrics_;
  std::unique_ptr<ResultCache> cache_;
  std::vector<bool> looked_;
  bool hold_ = false;
  std::vector<int64_t> runs_;
  std::deque<Held> held_;
  std::deque<std::optional<Result>> results_;
};

}  // namespace portico
