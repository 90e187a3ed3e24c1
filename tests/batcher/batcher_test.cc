#include "batcher/batcher.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/batcher/batcher_fixture.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Result = absl::StatusOr<std::vector<Tensor>>;

TEST_F(BatcherTest, WhatWaitsWhenARunBeginsGoesTogether) {
  Build();
  SubmitRows({1});
  SubmitRows({2, 3});
  SubmitRows({});
  SubmitRows({4});
  EXPECT_EQ(executor_.queued(), 1);
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(4));
  EXPECT_THAT(Values(0), ElementsAre(2));
  EXPECT_THAT(Values(1), ElementsAre(4, 6));
  EXPECT_THAT(Values(2), IsEmpty());
  EXPECT_THAT(Values(3), ElementsAre(8));
}

TEST_F(BatcherTest, ACallAloneIsNotCopied) {
  Build();
  const Tensor rows = Rows({1, 2});
  Submit({rows});
  executor_.RunAll();
  EXPECT_EQ(seen_[0].bytes().data(), rows.bytes().data());
}

TEST_F(BatcherTest, ResultsOfAJoinedRunShareItsMemory) {
  Build();
  SubmitRows({1});
  SubmitRows({2});
  executor_.RunAll();
  EXPECT_EQ((**results_[0])[0].origin().get(), (**results_[1])[0].origin().get());
}

TEST_F(BatcherTest, CallsOfOtherShapesOrSharedInputsDoNotJoin) {
  options_.row_inputs = {true, false};
  Build();
  const Tensor a = Tensor::Of<float>({1}, {1}), b = Tensor::Of<float>({1}, {2});
  Submit({Rows({1}), a});
  Submit({Rows({2}), b});
  Submit({Rows({3}), Tensor::Of<float>({1}, {1})});
  Submit({Tensor::Of<float>({1, 2}, {4, 5}), a});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(2, 1, 1));
  EXPECT_THAT(Values(2), ElementsAre(6));
  EXPECT_THAT(Values(3), ElementsAre(8, 10));
}

TEST_F(BatcherTest, NothingJoinsWhereOutputsDoNotCountRows) {
  options_.row_outputs = false;
  Build();
  SubmitRows({1});
  SubmitRows({2});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(1, 1));
}

TEST_F(BatcherTest, InputsThatDisagreeAboutRowsGoAlone) {
  options_.row_inputs = {true, true};
  Build();
  Submit({Rows({1}), Rows({1, 2})});
  Submit({Rows({1}), Rows({1})});
  Submit({Rows({1}), Rows({1})});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(1, 2));
}

TEST_F(BatcherTest, BadRowsFailOnlyTheirOwnCall) {
  Build();
  SubmitRows({1});
  SubmitRows({-1});
  SubmitRows({3});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(3, 1, 1, 1));
  EXPECT_THAT(Values(0), ElementsAre(2));
  EXPECT_EQ(Code(1), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Values(2), ElementsAre(6));
}

TEST_F(BatcherTest, ResultsWithAnotherNumberOfRowsAreMadeOneByOne) {
  batcher_ = std::make_unique<Batcher>(
      options_,
      [this](absl::Span<const Tensor> inputs) -> Result {
        runs_.push_back(inputs[0].rows());
        return std::vector<Tensor>{Rows({1})};
      },
      executor_, clock_, MetricRegistry::Null());
  SubmitRows({1});
  SubmitRows({2});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(2, 1, 1));
  EXPECT_THAT(Values(1), ElementsAre(1));
}

TEST_F(BatcherTest, SeveralRunsGoAtOnceUpToTheLimit) {
  options_.max_batch_rows = 1;
  options_.max_running = 2;
  std::unique_ptr<Batcher> batcher;
  int inside = 0, most = 0;
  batcher = std::make_unique<Batcher>(
      options_,
      [&](absl::Span<const Tensor> inputs) -> Result {
        most = std::max(most, ++inside);
        executor_.RunOne();  // As another worker would, meanwhile.
        --inside;
        return std::vector<Tensor>(inputs.begin(), inputs.end());
      },
      executor_, clock_, MetricRegistry::Null());
  int completed = 0;
  for (int i = 0; i < 6; ++i) batcher->Submit(MakeRef<RequestContext>(), {Rows({1})}, [&](Result) { ++completed; });
  executor_.RunAll();
  EXPECT_EQ(most, 2);
  EXPECT_EQ(completed, 6);
}

TEST_F(BatcherTest, AWorkerThatDoesNotComeGetsHelp) {
  Build();
  Submit({Rows({1})});
  clock_.Advance(absl::Microseconds(100));
  Submit({Rows({2})});
  EXPECT_EQ(executor_.woken(), 0);
  clock_.Advance(absl::Microseconds(100));
  Submit({Rows({3})});
  EXPECT_EQ(executor_.woken(), 1);
  Submit({Rows({4})});  // Not one for each call.
  EXPECT_EQ(executor_.woken(), 1);
  EXPECT_EQ(executor_.RunAll(), 1);
  EXPECT_THAT(runs_, ElementsAre(4));
}

TEST_F(BatcherTest, AnExecutorThatStopsFailsWhatWaits) {
  Build();
  SubmitRows({1});
  executor_.DropAll();
  EXPECT_EQ(Code(0), absl::StatusCode::kUnavailable);
  batcher_.reset();  // Does not wait for what will never come.
}

TEST_F(BatcherTest, MayBeDestroyedInsideItsLastCompletion) {
  Build();
  bool done = false;
  batcher_->Submit(MakeRef<RequestContext>(), {Rows({1})}, [&](Result result) {
    batcher_.reset();
    done = result.ok();
  });
  executor_.RunAll();
  EXPECT_TRUE(done);
}

// What the thread sanitizer looks at: many callers, several workers, delays by the real timer.
TEST(BatcherThreadsTest, EveryCallGetsItsOwnRows) {
  ThreadPool pool({.threads = 3});
  Batcher::Options options;
  options.name = "m";
  options.row_inputs = {true};
  options.row_outputs = true;
  options.max_batch_rows = 16;
  options.max_delay = absl::Microseconds(200);
  options.max_running = 2;
  std::atomic<int> right{0};
  constexpr int kCallers = 4, kCalls = 300;
  {
    Batcher batcher(
        options, [](absl::Span<const Tensor> inputs) -> Result { return std::vector<Tensor>{inputs[0]}; }, pool,
        Clock::Real(), MetricRegistry::Null());
    std::vector<std::thread> callers;
    for (int caller = 0; caller < kCallers; ++caller) {
      callers.emplace_back([&, caller] {
        for (int i = 0; i < kCalls; ++i) {
          const float value = static_cast<float>(caller * kCalls + i);
          batcher.Submit(MakeRef<RequestContext>(), {Rows({value, -value})}, [&right, value](Result result) {
            right += result.ok() && (*result)[0].data<float>()[0] == value && (*result)[0].data<float>()[1] == -value;
          });
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
  }
  pool.Stop();
  EXPECT_EQ(right, kCallers * kCalls);
}

}  // namespace
}  // namespace portico
