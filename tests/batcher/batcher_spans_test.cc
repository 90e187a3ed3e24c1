// What a traced call tells of its way through the batcher.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/batcher/batcher_fixture.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

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

}  // namespace
}  // namespace portico
