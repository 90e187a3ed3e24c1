#include "batcher/batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <optional>
#include <thread>

#include "tests/testing/fakes.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Result = absl::StatusOr<std::vector<Tensor>>;

Tensor Rows(std::vector<float> values) {
  return Tensor::Of<float>({static_cast<int64_t>(values.size()), 1}, absl::MakeConstSpan(values));
}

class BatcherTest : public testing::Test {
 protected:
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

TEST_F(BatcherTest, ARunHoldsAtMostTheLimitAndLargerCallsGoAlone) {
  options_.max_batch_rows = 3;
  Build();
  SubmitRows({1, 2});
  SubmitRows({3, 4});
  SubmitRows({5});
  SubmitRows({1, 2, 3, 4, 5});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(2, 3, 5));
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

TEST_F(BatcherTest, LateAndCancelledCallsAreDropped) {
  Build();
  auto late = MakeRef<RequestContext>();
  late->deadline = Deadline::In(absl::Seconds(1), clock_);
  auto cancelled = MakeRef<RequestContext>();
  Submit({Rows({1})}, late);
  Submit({Rows({2})}, cancelled);
  SubmitRows({3});
  clock_.Advance(absl::Seconds(1));
  cancelled->cancelled = true;
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(1));
  EXPECT_EQ(Code(0), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Code(1), absl::StatusCode::kCancelled);
  EXPECT_THAT(Values(2), ElementsAre(6));
}

TEST_F(BatcherTest, AFullQueueRefusesAtOnceAndSaysWhy) {
  options_.max_queue_rows = 3;
  Build();
  SubmitRows({1, 2, 3, 4, 5});  // Let in alone: it could never run otherwise.
  EXPECT_EQ(Code(SubmitRows({})), absl::StatusCode::kResourceExhausted);
  executor_.RunAll();
  SubmitRows({1, 2});
  const size_t refused = SubmitRows({3, 4});
  EXPECT_EQ(Code(refused), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(results_[refused]->status().message()),
              HasSubstr("queue 'm/segment_0': got 2 rows while 2 wait, want at most 3"));
  SubmitRows({5});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(5, 3));
}

TEST_F(BatcherTest, AnUnderfullBatchWaitsForTheDelayAndNoLonger) {
  options_.max_delay = absl::Milliseconds(2);
  Build();
  SubmitRows({1});
  clock_.Advance(absl::Milliseconds(1));
  SubmitRows({2});
  EXPECT_EQ(executor_.queued(), 0);
  EXPECT_EQ(timer_.RunDue(), 0);
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_EQ(timer_.RunDue(), 1);
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(2));
  EXPECT_EQ(timer_.queued(), 0);
}

TEST_F(BatcherTest, AFullBatchDoesNotWait) {
  options_.max_delay = absl::Milliseconds(2);
  options_.max_batch_rows = 2;
  Build();
  Submit({Tensor::Of<float>({1, 2}, {1, 2})});  // Older, but alone in its lane.
  SubmitRows({1});
  SubmitRows({2});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(2));
  clock_.Advance(absl::Milliseconds(2));
  timer_.RunDue();
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(2, 1));
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

TEST_F(BatcherTest, TracedCallsTellQueueAndBatchBelowTheirSegment) {
  options_.span_name = "segment s0";
  Build();
  auto context = MakeRef<RequestContext>();
  context->trace = {.parent_span_id = 5, .sampled = true};
  Submit({Rows({1})}, context);
  SubmitRows({2, 3});
  clock_.Advance(absl::Milliseconds(4));
  executor_.RunAll();
  const std::vector<Span> spans = context->spans.Take();
  ASSERT_EQ(spans.size(), 3);
  EXPECT_EQ(spans[0].name, "segment s0");
  EXPECT_EQ(spans[0].parent_span_id, 5);
  EXPECT_NE(spans[0].span_id, 0);
  EXPECT_EQ(spans[0].duration, absl::Milliseconds(4));
  EXPECT_EQ(spans[1].name, "queue");
  EXPECT_EQ(spans[1].parent_span_id, spans[0].span_id);
  EXPECT_EQ(spans[1].duration, absl::Milliseconds(4));
  EXPECT_EQ(spans[2].name, "batch of 3 rows, 2 calls");
  EXPECT_EQ(spans[2].parent_span_id, spans[0].span_id);
  EXPECT_EQ(*spans[2].Number("rows"), 3);
  EXPECT_EQ(*spans[2].Number("calls"), 2);
  EXPECT_EQ(*spans[2].Number("own_rows"), 1);
  EXPECT_EQ(spans[2].Text("shared_with"), nullptr) << "the other one is not sampled";
}

TEST_F(BatcherTest, TracedCallsNameTheSampledTracesThatSharedTheirRun) {
  Build();
  std::vector<Ref<RequestContext>> contexts;
  for (uint64_t i = 0; i < 12; ++i) {
    contexts.push_back(MakeRef<RequestContext>());
    contexts.back()->trace = {.trace_id_low = i, .parent_span_id = 5, .sampled = i != 1};
    Submit({Rows({1})}, contexts.back());
  }
  executor_.RunAll();
  ASSERT_THAT(runs_, ElementsAre(12));
  const std::vector<Span> spans = contexts[0]->spans.Take();
  ASSERT_EQ(spans.size(), 3);
  const std::string* others = spans[2].Text("shared_with");
  ASSERT_NE(others, nullptr);
  EXPECT_EQ(others->substr(0, 65), "00000000000000000000000000000002,00000000000000000000000000000003");
  EXPECT_EQ(others->size(), 8 * 33 - 1) << "eight of the ten";
  EXPECT_TRUE(contexts[1]->spans.Take().empty());
}

TEST_F(BatcherTest, OfCallsThatAreNotSampledOnlyLongOnesLeaveSpans) {
  Build();
  const auto submit = [&] {
    auto context = MakeRef<RequestContext>();
    context->span_floor = absl::Milliseconds(3);
    Submit({Rows({1})}, context);
    return context;
  };
  const auto slow = submit();
  clock_.Advance(absl::Milliseconds(2));
  const auto fast = submit();
  clock_.Advance(absl::Milliseconds(1));
  executor_.RunAll();
  EXPECT_TRUE(fast->spans.Take().empty());
  EXPECT_EQ(slow->spans.Take().size(), 3);
}

TEST_F(BatcherTest, ACallThatDiesInTheQueueTellsHowLongItWaited) {
  Build();
  auto context = MakeRef<RequestContext>();
  context->trace.sampled = true;
  context->deadline = Deadline::At(clock_.Now() + absl::Milliseconds(5));
  Submit({Rows({1})}, context);
  clock_.Advance(absl::Milliseconds(6));
  executor_.RunAll();
  EXPECT_EQ(Code(0), absl::StatusCode::kDeadlineExceeded);
  const std::vector<Span> spans = context->spans.Take();
  ASSERT_EQ(spans.size(), 2);
  EXPECT_EQ(spans[1].name, "queue");
  EXPECT_EQ(spans[1].parent_span_id, spans[0].span_id);
  EXPECT_EQ(spans[1].duration, absl::Milliseconds(6));
}

TEST_F(BatcherTest, PiecesOfALargeCallStandBelowOneSegment) {
  options_.max_batch_rows = 2;
  options_.split_large_calls = true;
  Build();
  auto context = MakeRef<RequestContext>();
  context->trace = {.parent_span_id = 5, .sampled = true};
  Submit({Rows({1, 2, 3})}, context);
  clock_.Advance(absl::Milliseconds(4));
  executor_.RunAll();
  std::vector<Span> spans = context->spans.Take();
  ASSERT_EQ(spans.size(), 5);
  EXPECT_EQ(spans[4].name, "segment");
  EXPECT_EQ(spans[4].parent_span_id, 5);
  EXPECT_EQ(spans[4].duration, absl::Milliseconds(4));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(spans[i].parent_span_id, spans[4].span_id) << spans[i].name;
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

TEST_F(BatcherTest, RunsArePaddedToTheNextAllowedSizeAndOutputsAreCut) {
  options_.allowed_batch_rows = {4, 8};
  Build();
  SubmitRows({1});
  SubmitRows({2, 3});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(4));
  EXPECT_THAT(seen_[0].data<float>(), ElementsAre(1, 2, 3, 1));
  EXPECT_THAT(Values(0), ElementsAre(2));
  EXPECT_THAT(Values(1), ElementsAre(4, 6));
  SubmitRows({5, 6, 7, 8, 9});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(4, 8));
  EXPECT_THAT(Values(2), ElementsAre(10, 12, 14, 16, 18));
  SubmitRows({1, 1, 1, 1});
  executor_.RunAll();
  EXPECT_EQ(runs_.back(), 4);
}

TEST_F(BatcherTest, TheLargestAllowedSizeLimitsJoinedRunsAndWhatIsLargerGoesAsItIs) {
  options_.allowed_batch_rows = {2, 4};
  Build();
  for (int i = 0; i < 3; ++i) SubmitRows({1, 2});
  SubmitRows({1, 2, 3, 4, 5});
  SubmitRows({});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(4, 2, 5, 0));
}

TEST_F(BatcherTest, LargeCallsAreSplitWhereAskedFor) {
  options_.max_batch_rows = 2;
  options_.split_large_calls = true;
  Build();
  SubmitRows({1, 2, 3, 4, 5});
  SubmitRows({6});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(2, 2, 2));
  EXPECT_THAT(Values(0), ElementsAre(2, 4, 6, 8, 10));
  EXPECT_THAT(Values(1), ElementsAre(12));
  // One bad piece fails the call, once, and the other caller of its run not at all.
  SubmitRows({1, 2, -1});
  SubmitRows({7});
  executor_.RunAll();
  EXPECT_EQ(Code(2), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Values(3), ElementsAre(14));
}

TEST_F(BatcherTest, ASplitCallIsRefusedWholeWhenTheQueueIsFull) {
  options_.max_batch_rows = 2;
  options_.max_queue_rows = 4;
  options_.split_large_calls = true;
  Build();
  SubmitRows({1, 2});
  SubmitRows({1, 2, 3});
  EXPECT_EQ(Code(1), absl::StatusCode::kResourceExhausted);
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(2));
}

TEST_F(BatcherTest, ACancelledCallLeavesTheQueueAtOnce) {
  options_.max_queue_rows = 3;
  Build();
  const auto context = MakeRef<RequestContext>();
  SubmitRows({1});
  const size_t cancelled = Submit({Rows({2, 3})}, context);
  EXPECT_EQ(Code(SubmitRows({4})), absl::StatusCode::kResourceExhausted);
  context->Cancel();
  context->Cancel();
  const size_t let_in = SubmitRows({5});
  executor_.RunAll();
  EXPECT_EQ(Code(cancelled), absl::StatusCode::kCancelled);
  EXPECT_THAT(runs_, ElementsAre(2));
  EXPECT_THAT(Values(let_in), ElementsAre(10));
}

TEST_F(BatcherTest, CancellingASplitCallTakesAllItsPiecesBack) {
  options_.max_batch_rows = 2;
  options_.split_large_calls = true;
  Build();
  const auto context = MakeRef<RequestContext>();
  const size_t cancelled = Submit({Rows({1, 2, 3, 4, 5})}, context);
  context->Cancel();
  executor_.RunAll();
  EXPECT_EQ(Code(cancelled), absl::StatusCode::kCancelled);
  EXPECT_THAT(runs_, IsEmpty());
}

TEST_F(BatcherTest, AContextMayBeCancelledLongAfterTheBatcherHasGone) {
  Build();
  const auto early = MakeRef<RequestContext>();
  early->Cancel();
  const size_t dead = Submit({Rows({1})}, early);
  const auto late = MakeRef<RequestContext>();
  Submit({Rows({2})}, late);
  executor_.RunAll();
  EXPECT_EQ(Code(dead), absl::StatusCode::kCancelled);
  batcher_.reset();
  early->Cancel();
  late->Cancel();
}

Ref<RequestContext> OfPriority(int32_t priority) {
  auto context = MakeRef<RequestContext>();
  context->priority = priority;
  return context;
}

TEST_F(BatcherTest, HigherPriorityGoesFirst) {
  options_.max_batch_rows = 2;
  Build();
  SubmitRows({1});
  SubmitRows({2});
  Submit({Rows({3})}, OfPriority(1));
  Submit({Rows({4})}, OfPriority(-1));
  Submit({Rows({5})}, OfPriority(2));
  executor_.RunAll();
  ASSERT_EQ(seen_.size(), 3u);
  EXPECT_THAT(seen_[0].data<float>(), ElementsAre(5, 3));
  EXPECT_THAT(seen_[1].data<float>(), ElementsAre(1, 2));
  EXPECT_THAT(seen_[2].data<float>(), ElementsAre(4));
}

TEST_F(BatcherTest, LowPriorityDoesNotWaitForEver) {
  options_.max_batch_rows = 1;
  Build();
  Submit({Rows({1})}, OfPriority(-1));
  clock_.Advance(absl::Milliseconds(150));
  SubmitRows({2});
  executor_.RunAll();
  EXPECT_THAT(seen_[0].data<float>(), ElementsAre(1));
}

TEST_F(BatcherTest, PriorityHoldsAcrossLanes) {
  options_.max_delay = absl::Milliseconds(10);
  Build();
  Submit({Tensor::Of<float>({1, 2}, {1, 1})});
  clock_.Advance(absl::Milliseconds(1));
  Submit({Rows({3})}, OfPriority(1));
  clock_.Advance(absl::Milliseconds(9));
  timer_.RunDue();
  // Only the first lane is ripe; the other one has the higher priority and still its delay.
  executor_.RunAll();
  EXPECT_THAT(seen_[0].data<float>(), ElementsAre(1, 1));
  clock_.Advance(absl::Milliseconds(1));
  timer_.RunDue();
  executor_.RunAll();
  EXPECT_EQ(seen_.size(), 2u);
}

TEST_F(BatcherTest, ShorterRowsArePaddedWithTheirFirstElementWhereAskedFor) {
  options_.pad_inner = true;
  Build();
  Submit({Tensor::Of<float>({1, 2, 2}, {1, 2, 3, 4})});
  Submit({Tensor::Of<float>({2, 1, 3}, {5, 6, 7, 8, 9, 10})});
  executor_.RunAll();
  ASSERT_EQ(seen_.size(), 1u);
  EXPECT_THAT(seen_[0].shape(), ElementsAre(3, 2, 3));
  EXPECT_THAT(seen_[0].data<float>(), ElementsAre(1, 2, 1, 3, 4, 1,  //
                                                  5, 6, 7, 5, 5, 5,  //
                                                  8, 9, 10, 5, 5, 5));
  EXPECT_THAT(Values(1), ElementsAre(10, 12, 14, 10, 10, 10, 16, 18, 20, 10, 10, 10));
}

TEST_F(BatcherTest, RowsOfDifferentExtentsDoNotJoinOtherwise) {
  Build();
  Submit({Tensor::Of<float>({1, 2}, {1, 2})});
  Submit({Tensor::Of<float>({1, 3}, {1, 2, 3})});
  executor_.RunAll();
  EXPECT_THAT(runs_, ElementsAre(1, 1));
}

}  // namespace
}  // namespace portico
