// What several products get of the runs of one batcher, and of its queue.

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "batcher/waiting_calls.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/batcher/batcher_fixture.h"
#include "tests/testing/recording_registry.h"

namespace portico {
namespace {

using ::testing::Each;
using ::testing::Le;

Ref<RequestContext> Of(const std::string& product, int32_t priority = 0) {
  auto context = MakeRef<RequestContext>();
  context->product = product;
  context->priority = priority;
  return context;
}

/// Rows carry the number of the product that sent them, by which runs are counted.
class SharesTest : public BatcherTest {
 protected:
  /// The batcher waits for what is left.
  void TearDown() override { executor_.RunAll(); }
  /// `calls` calls of `rows` rows each.
  void Send(int product, int calls, int rows = 1, int32_t priority = 0) {
    const std::vector<float> values(static_cast<size_t>(rows), static_cast<float>(product));
    for (int i = 0; i < calls; ++i) Submit({Rows(values)}, Of(absl::StrCat(product), priority));
  }
  /// Rows of `product` in run `run`.
  int64_t RowsIn(size_t run, int product) {
    const auto rows = seen_[run].data<float>();
    return std::count(rows.begin(), rows.end(), static_cast<float>(product));
  }
};

TEST_F(SharesTest, AFloodLeavesOthersTheirShareOfTheNextRun) {
  Build();
  Send(1, 1000);
  clock_.Advance(absl::Milliseconds(5));
  Send(2, 20);
  executor_.RunOne();
  EXPECT_EQ(RowsIn(0, 2), 20) << "less than its half";
  EXPECT_EQ(RowsIn(0, 1), 44) << "what others leave";
  executor_.RunAll();
  EXPECT_EQ(runs_.size(), 16u) << "every run is full but the last";
}

TEST_F(SharesTest, EqualSharesHoldOverAnyWindow) {
  Build();
  Send(1, 1000);
  Send(2, 300);
  Send(3, 300);
  executor_.RunAll();
  // Rows in the order they ran, while all three wait.
  std::vector<float> order;
  for (const Tensor& run : seen_) order.insert(order.end(), run.data<float>().begin(), run.data<float>().end());
  for (size_t at = 0; at + 30 <= 900; ++at) {
    for (const float product : {1.0f, 2.0f, 3.0f}) {
      const auto begin = order.begin() + static_cast<std::ptrdiff_t>(at);
      EXPECT_NEAR(static_cast<double>(std::count(begin, begin + 30, product)), 10, 1) << "from row " << at;
    }
  }
}

TEST_F(SharesTest, RowsGoByTheirShares) {
  options_.shares = {{"1", 3}, {"2", 1}};
  Build();
  Send(1, 500);
  Send(2, 500);
  Send(3, 500);
  for (int run = 0; run < 5; ++run) executor_.RunOne();
  int64_t rows[4] = {};
  for (size_t run = 0; run < 5; ++run) {
    for (const int product : {1, 2, 3}) rows[product] += RowsIn(run, product);
  }
  EXPECT_NEAR(static_cast<double>(rows[1]), 192, 2);
  EXPECT_NEAR(static_cast<double>(rows[2]), 64, 2);
  EXPECT_NEAR(static_cast<double>(rows[3]), 64, 2) << "1 where nothing is said";
}

TEST_F(SharesTest, SharesMayChangeWhileCallsWait) {
  Build();
  Send(1, 500);
  Send(2, 500);
  executor_.RunOne();
  batcher_->SetShares({{"2", 7}});
  executor_.RunOne();
  EXPECT_EQ(RowsIn(0, 1), 32);
  EXPECT_NEAR(static_cast<double>(RowsIn(1, 2)), 56, 2);
}

TEST_F(SharesTest, RowsCountAndNotCalls) {
  Build();
  Send(1, 40, 8);
  Send(2, 320, 1);
  for (int run = 0; run < 4; ++run) executor_.RunOne();
  for (size_t run = 0; run < 4; ++run) EXPECT_NEAR(static_cast<double>(RowsIn(run, 2)), 32, 8) << run;
}

TEST_F(SharesTest, WhoWasAwayHasSavedNothingUp) {
  Build();
  Send(2, 1);
  executor_.RunAll();
  Send(1, 5000);
  for (int run = 0; run < 50; ++run) executor_.RunOne();
  Send(2, 1000);
  executor_.RunOne();
  executor_.RunOne();
  const size_t last = runs_.size();
  EXPECT_NEAR(static_cast<double>(RowsIn(last - 1, 1)), 32, 1);
  EXPECT_GE(RowsIn(last - 1, 1) + RowsIn(last - 2, 1), 32) << "a run's worth at most";
}

TEST_F(SharesTest, WhatOneHadWhileNobodyWaitedIsNoDebt) {
  Build();
  Send(1, 1, 100'000);
  executor_.RunAll();
  ASSERT_EQ(runs_.size(), 1u);
  Send(1, 200);
  Send(2, 200);
  executor_.RunAll();
  EXPECT_EQ(RowsIn(1, 1), 32);
  EXPECT_EQ(RowsIn(1, 2), 32);
}

TEST_F(SharesTest, ALargeShareThatWaitedIsOneRunAhead) {
  options_.shares = {{"1", 100}};
  Build();
  Send(1, 64 * 64, 1, /*priority=*/-1);
  Send(2, 64 * 64);
  for (int run = 0; run < 40; ++run) executor_.RunOne();
  EXPECT_EQ(RowsIn(39, 2), 64) << "a step of priority is ahead";
  // From here on both count alike.
  clock_.Advance(WaitingCalls::kHeadStart);
  int64_t others = 0;
  for (size_t run = 40; run < 44; ++run) {
    executor_.RunOne();
    others += RowsIn(run, 2);
  }
  EXPECT_GE(others, 1) << "has saved no hundred runs up";
  EXPECT_LE(others, 3);
}

TEST_F(SharesTest, AOneRowClientWaitsForOneRunHoweverMuchOthersSend) {
  options_.max_batch_rows = 8;
  Build();
  Send(1, 2000);
  for (int i = 0; i < 100; ++i) {
    const size_t call = results_.size();
    Send(2, 1);
    executor_.RunOne();
    EXPECT_TRUE(results_[call].has_value()) << i;
  }
}

TEST_F(SharesTest, OthersShapesAreNoWayAroundAShare) {
  options_.max_batch_rows = 8;
  Build();
  // A lane of its own for each width, all older than what the second product sends.
  for (int64_t width = 2; width < 40; ++width) {
    const std::vector<float> values(static_cast<size_t>(8 * width), 1);
    Submit({Tensor::Of<float>({8, width}, absl::MakeConstSpan(values))}, Of("1"));
  }
  clock_.Advance(absl::Milliseconds(1));
  Send(2, 64);
  for (int run = 0; run < 8; ++run) executor_.RunOne();
  int second = 0;
  for (size_t run = 0; run < 8; ++run) second += RowsIn(run, 2) == 8 ? 1 : 0;
  EXPECT_EQ(second, 4);
}

TEST_F(SharesTest, PriorityOrdersAProductsOwnCallsAndThoseOfOthers) {
  options_.max_batch_rows = 4;
  Build();
  Send(1, 8, 1, -1);
  Send(2, 4);
  executor_.RunOne();
  EXPECT_EQ(RowsIn(0, 2), 4) << "a lower priority does not take part yet";
  clock_.Advance(absl::Milliseconds(100));
  Send(2, 100);
  executor_.RunOne();
  EXPECT_EQ(RowsIn(1, 1), 4) << "it takes part once it has waited for the difference, and goes first: it had nothing";
  executor_.RunOne();
  EXPECT_EQ(RowsIn(2, 1), 2);
}

TEST_F(SharesTest, AHighPriorityWinsNoMoreThanAShareOfWhatHasWaited) {
  options_.max_batch_rows = 8;
  Build();
  Send(1, 100);
  clock_.Advance(absl::Seconds(1));
  Send(2, 100, 1, 4);
  for (int run = 0; run < 4; ++run) executor_.RunOne();
  for (size_t run = 0; run < 4; ++run) EXPECT_NEAR(static_cast<double>(RowsIn(run, 1)), 4, 1) << run;
}

TEST_F(SharesTest, ALowPriorityThatWaitedLongDoesNotTakeItAllBack) {
  options_.max_batch_rows = 8;
  Build();
  Send(1, 1000, 1, -1);
  for (int run = 0; run < 50; ++run) {
    Send(2, 8);
    executor_.RunOne();
    ASSERT_EQ(RowsIn(static_cast<size_t>(run), 1), 0);
  }
  clock_.Advance(absl::Milliseconds(200));
  Send(2, 1000);
  int64_t first = 0;
  for (size_t run = 50; run < 60; ++run) {
    executor_.RunOne();
    first += RowsIn(run, 1);
  }
  EXPECT_NEAR(static_cast<double>(first), 44, 1) << "half, and a run";
}

TEST_F(SharesTest, DeadCallsAreDroppedAndChargedToNobody) {
  options_.max_batch_rows = 8;
  Build();
  for (int i = 0; i < 100; ++i) {
    auto context = Of("1");
    context->deadline = Deadline::At(clock_.Now());
    Submit({Rows({1})}, context);
  }
  Send(1, 8);
  Send(2, 8);
  executor_.RunOne();
  EXPECT_EQ(RowsIn(0, 1), 4);
  EXPECT_EQ(RowsIn(0, 2), 4);
  EXPECT_EQ(Code(0), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(SharesTest, AFullQueueRefusesWhoFillsIt) {
  options_.max_queue_rows = 100;
  Build();
  Send(1, 101);
  EXPECT_EQ(Code(100), absl::StatusCode::kResourceExhausted);
  const size_t second = results_.size();
  Send(2, 51);
  for (size_t call = second; call < second + 50; ++call) EXPECT_FALSE(results_[call].has_value()) << call;
  EXPECT_EQ(results_[second + 50]->status().message(),
            "queue 'm/segment_0': got 1 rows while 150 wait, 50 of them of the same product '2', want at most 100 "
            "waiting, or 50 of that product; send fewer at once, or raise batching.max_queue_rows");
  const size_t third = results_.size();
  Send(3, 1, 40);
  EXPECT_FALSE(results_[third].has_value()) << "one call of a product is let in, more than its third though it is";
  Send(4, 1, 11);
  EXPECT_EQ(Code(third + 1), absl::StatusCode::kResourceExhausted) << "twice the limit and no more";
  executor_.RunAll();
}

TEST_F(SharesTest, ARunSaysWhoseRowsItHas) {
  Build();
  Send(1, 2, 3);
  auto context = Of("2");
  context->trace.sampled = true;
  Submit({Rows({2})}, context);
  for (int product = 3; product < 12; ++product) Send(product, 1);
  executor_.RunAll();
  const std::vector<Span> spans = context->spans.Take();
  ASSERT_EQ(spans.size(), 3);
  EXPECT_EQ(*spans[2].Text("products"),
            "1 6 rows, 2 1 row, 3 1 row, 4 1 row, 5 1 row, 6 1 row, 7 1 row, 8 1 row, 3 more");
}

/// As /metrics tells them.
class ProductMetricsTest : public SharesTest {
 protected:
  void BuildMeasured() {
    options_.labels = {{"segment", "s"}};
    batcher_ = std::make_unique<Batcher>(options_, Doubling(), executor_, clock_, metrics_);
  }
  double Value(const std::string& metric, const std::string& product) {
    return metrics_.series[absl::StrCat("portico_batch_product_", metric, "_total segment=s product=", product)].value;
  }
  RecordingRegistry metrics_;
};

TEST_F(ProductMetricsTest, CountCallsRowsWaitingAndRefusals) {
  options_.max_queue_rows = 4;
  BuildMeasured();
  Send(1, 2, 2);
  Send(1, 1);
  Send(2, 1);
  clock_.Advance(absl::Milliseconds(500));
  executor_.RunAll();
  EXPECT_EQ(Value("calls", "1"), 2);
  EXPECT_EQ(Value("rows", "1"), 4);
  EXPECT_EQ(Value("queue_seconds", "1"), 1);
  EXPECT_EQ(Value("refused", "1"), 1);
  EXPECT_EQ(Value("rows", "2"), 1);
}

TEST_F(ProductMetricsTest, NamesThatCallersMakeUpAreOneProductBeyondSixtyFour) {
  options_.shares = {{"63", 1}, {"900", 5}};
  BuildMeasured();
  Send(900, 1);
  for (int product = 0; product < 500; ++product) Send(product, 1);
  Submit({Rows({1})}, Of("\n{}\xff"));
  Submit({Rows({1})}, Of(""));
  executor_.RunAll();
  EXPECT_EQ(Value("rows", "900"), 1);
  EXPECT_EQ(Value("rows", "63"), 1) << "named by shares";
  EXPECT_EQ(Value("rows", "61"), 1);
  EXPECT_EQ(Value("rows", "62"), 0);
  EXPECT_EQ(Value("rows", "other"), 500 - 63 + 2);
  EXPECT_EQ(runs_.size(), 8u) << "502 rows, 64 at a time";
}

TEST_F(ProductMetricsTest, SharesHaveAPlaceHoweverManyNamesCameBefore) {
  BuildMeasured();
  for (int product = 0; product < 100; ++product) Send(product, 1);
  batcher_->SetShares({{"900", 3}});
  Send(900, 1);
  Send(901, 1);
  executor_.RunAll();
  EXPECT_EQ(Value("rows", "900"), 1);
  EXPECT_EQ(Value("rows", "other"), 37);
}

TEST_F(ProductMetricsTest, NamesAreMadePrintable) {
  BuildMeasured();
  Submit({Rows({1})}, Of("a\n\"\xff"));
  Submit({Rows({1})}, Of(""));
  executor_.RunAll();
  EXPECT_EQ(Value("rows", "a?\"?"), 1);
  EXPECT_EQ(Value("rows", "(none)"), 1);
}

/// Products, shapes, priorities, deadlines and cancellations as they come: all are answered once, and no run is too
/// large.
TEST_F(SharesTest, AnyMixIsAnsweredOnce) {
  options_.max_batch_rows = 16;
  options_.max_queue_rows = 1 << 20;
  Build();
  uint64_t random = 7;
  const auto draw = [&](uint64_t below) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    return static_cast<int64_t>((random >> 33) % below);
  };
  std::vector<Ref<RequestContext>> contexts;
  for (int i = 0; i < 4000; ++i) {
    const int64_t product = draw(20), rows = draw(6), width = 1 + draw(3);
    auto context = Of(absl::StrCat(product), static_cast<int32_t>(draw(5)) - 2);
    if (draw(20) == 0) context->deadline = Deadline::At(clock_.Now() + absl::Milliseconds(draw(30)));
    const std::vector<float> values(static_cast<size_t>(rows * width), static_cast<float>(product));
    Submit({Tensor::Of<float>({rows, width}, absl::MakeConstSpan(values))}, context);
    contexts.push_back(context);
    if (draw(10) == 0) contexts[static_cast<size_t>(draw(contexts.size()))]->Cancel();
    if (draw(4) == 0) executor_.RunOne();
    if (draw(8) == 0) clock_.Advance(absl::Milliseconds(draw(40)));
  }
  executor_.RunAll();
  for (const auto& result : results_) ASSERT_TRUE(result.has_value());
  EXPECT_THAT(runs_, Each(Le(16)));
}

}  // namespace
}  // namespace portico
