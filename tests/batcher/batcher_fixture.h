#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "batcher/batcher.h"
#include "gtest/gtest.h"
#include "tests/testing/fakes.h"

namespace portico {

/// One column of them.
inline Tensor Rows(std::vector<float> values) {
  return Tensor::Of<float>({static_cast<int64_t>(values.size()), 1}, absl::MakeConstSpan(values));
}

/// A batcher around a function that doubles, with clock, timer and worker of the test's own.
class BatcherTest : public testing::Test {
 protected:
  using Result = absl::StatusOr<std::vector<Tensor>>;

  BatcherTest() {
    options_.name = "m/segment_0";
    options_.row_inputs = {true};
    options_.row_outputs = true;
    options_.timer = &timer_;
  }
  void Build() {
    batcher_ = std::make_unique<Batcher>(options_, Doubling(), executor_, clock_, MetricRegistry::Null());
  }

  /// Doubles its first input; refuses rows of −1; remembers how many rows each run had.
  Batcher::Function Doubling() {
    return [this](absl::Span<const Tensor> inputs) -> Result {
      runs_.push_back(inputs[0].rows());
      seen_.push_back(inputs[0]);
      std::vector<float> values;
      for (const float value : inputs[0].data<float>()) {
        if (value == -1) return absl::InvalidArgumentError("row of -1");
        values.push_back(2 * value);
      }
      return std::vector<Tensor>{Tensor::Of<float>(inputs[0].shape(), absl::MakeConstSpan(values))};
    };
  }
  /// Returns the number of the call.
  size_t Submit(std::vector<Tensor> inputs, Ref<RequestContext> context = MakeRef<RequestContext>()) {
    const size_t call = results_.size();
    results_.emplace_back();
    batcher_->Submit(std::move(context), std::move(inputs), [this, call](Result result) {
      EXPECT_FALSE(results_[call].has_value());
      results_[call] = std::move(result);
    });
    return call;
  }
  size_t SubmitRows(std::vector<float> values) { return Submit({Rows(std::move(values))}); }
  std::vector<float> Values(size_t call) {
    EXPECT_TRUE(results_[call].has_value() && results_[call]->ok());
    if (!results_[call].has_value() || !results_[call]->ok()) return {};
    const auto data = (**results_[call])[0].data<float>();
    return {data.begin(), data.end()};
  }
  absl::StatusCode Code(size_t call) {
    return results_[call].has_value() ? results_[call]->status().code() : absl::StatusCode::kUnknown;
  }

  FakeClock clock_;
  FakeTimer timer_{clock_};
  ManualExecutor executor_;
  Batcher::Options options_;
  std::vector<int64_t> runs_;
  std::vector<Tensor> seen_;
  std::deque<std::optional<Result>> results_;
  std::unique_ptr<Batcher> batcher_;
};

}  // namespace portico
