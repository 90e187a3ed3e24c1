// What waits: for how long, how much of it, in which order, and what leaves the queue early.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/batcher/batcher_fixture.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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

}  // namespace
}  // namespace portico
