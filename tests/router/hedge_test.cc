// A second replica is asked while the first one is slow: when, how often, and what becomes of the two.

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/router.h"
#include "router/static_resolver.h"
#include "tests/router/one_target.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Result = absl::StatusOr<PeerMessage>;

class HedgeTest : public OneTarget {
 protected:
  static RoutePolicy After(absl::Duration after) {
    RoutePolicy policy;
    policy.hedge.after = after;
    return policy;
  }
  void Make(std::vector<std::string> endpoints, RoutePolicy policy) {
    OneTarget::Make(std::move(endpoints), std::move(policy), &timer_);
  }
  void Pass(absl::Duration time) {
    clock_.now += time;
    timer_.RunDue();
  }
  /// One call, answered after `time` by the first replica.
  void AnswerAfter(absl::Duration time) {
    Call();
    const size_t first = sent() - 1;
    Pass(time);
    if (transport_.calls[first].done) Answer(first);
  }

  // After the router has gone it runs nothing.
  ManualTimer timer_{clock_};

 private:
  void TearDown() override { router_.reset(); }
};

TEST_F(HedgeTest, ASlowCallIsSentToAnotherReplicaAndTheFirstAnswerWins) {
  Make({"x://a", "x://b"}, After(absl::Milliseconds(20)));
  const auto result = Call();
  Pass(absl::Milliseconds(19));
  EXPECT_EQ(sent(), 1u);
  Pass(absl::Milliseconds(1));
  ASSERT_EQ(sent(), 2u);
  EXPECT_NE(transport_.calls[0].endpoint, transport_.calls[1].endpoint);
  EXPECT_EQ(transport_.calls[1].header.attempt, 1u);
  EXPECT_EQ(transport_.calls[1].servable, "m");
  EXPECT_EQ(transport_.calls[1].tensors[0].data<int64_t>()[0], 42);
  EXPECT_FALSE(result->has_value());
  Answer(1);
  ASSERT_TRUE(result->has_value());
  EXPECT_TRUE((*result)->ok());
  EXPECT_THAT(transport_.cancelled, ElementsAre(0u));
  EXPECT_EQ(metrics_.Value("portico_portal_hedges_total"), 1);
  EXPECT_EQ(metrics_.Value("portico_portal_hedges_won_total"), 1);
}

TEST_F(HedgeTest, WhereTheFirstReplicaWinsTheHedgeIsCancelled) {
  Make({"x://a", "x://b"}, After(absl::Milliseconds(20)));
  const auto result = Call();
  Pass(absl::Milliseconds(20));
  Answer(0);
  ASSERT_TRUE(result->has_value());
  EXPECT_TRUE((*result)->ok());
  EXPECT_THAT(transport_.cancelled, ElementsAre(1u));
  EXPECT_EQ(metrics_.Value("portico_portal_hedges_won_total"), 0);
}

TEST_F(HedgeTest, ACallThatIsAnsweredInTimeIsNotHedged) {
  Make({"x://a", "x://b"}, After(absl::Milliseconds(20)));
  for (int i = 0; i < 100; ++i) AnswerAfter(absl::Milliseconds(1));
  Pass(absl::Seconds(1));
  EXPECT_EQ(sent(), 100u);
  EXPECT_EQ(timer_.queued(), 0u);
  EXPECT_LE(timer_.scheduled(), 8) << "one timer serves many calls";
}

TEST_F(HedgeTest, OffByDefaultAndThenNoTimerIsSet) {
  Make({"x://a", "x://b"}, RoutePolicy());
  const auto result = Call();
  Pass(absl::Seconds(10));
  EXPECT_EQ(sent(), 1u);
  EXPECT_EQ(timer_.scheduled(), 0);
  Answer(0);
  EXPECT_TRUE(result->has_value());
}

TEST_F(HedgeTest, WithOneReplicaThereIsNobodyToAsk) {
  Make({"x://a"}, After(absl::Milliseconds(20)));
  Call();
  Pass(absl::Seconds(1));
  EXPECT_EQ(sent(), 1u);
  EXPECT_EQ(timer_.scheduled(), 0);
}

TEST_F(HedgeTest, NotAfterTheDeadline) {
  RoutePolicy policy = After(absl::Milliseconds(20));
  policy.timeout = absl::Milliseconds(10);
  Make({"x://a", "x://b"}, policy);
  Call();
  Pass(absl::Milliseconds(30));
  EXPECT_EQ(sent(), 1u);
}

TEST_F(HedgeTest, AFailureOfOneWaitsForTheOther) {
  Make({"x://a", "x://b"}, After(absl::Milliseconds(20)));
  for (const size_t failing : {size_t{0}, size_t{1}}) {
    const size_t before = sent();
    const auto result = Call();
    Pass(absl::Milliseconds(20));
    ASSERT_EQ(sent(), before + 2);
    Answer(before + failing, absl::StatusCode::kUnavailable);
    EXPECT_FALSE(result->has_value());
    EXPECT_EQ(sent(), before + 2) << "nobody else is asked while one is out";
    Answer(before + 1 - failing);
    ASSERT_TRUE(result->has_value());
    EXPECT_TRUE((*result)->ok());
  }
  EXPECT_THAT(transport_.cancelled, IsEmpty());
}

TEST_F(HedgeTest, WhereBothFailAThirdIsAskedAndTheErrorNamesAll) {
  Make({"x://a", "x://b", "x://c"}, After(absl::Milliseconds(20)));
  const auto result = Call();
  Pass(absl::Milliseconds(20));
  ASSERT_EQ(sent(), 2u);
  Answer(0, absl::StatusCode::kUnavailable);
  Answer(1, absl::StatusCode::kUnavailable);
  ASSERT_EQ(sent(), 3u);
  EXPECT_EQ(transport_.calls[2].header.attempt, 2u);
  Answer(2, absl::StatusCode::kUnavailable);
  ASSERT_TRUE(result->has_value());
  EXPECT_THAT(std::string((*result)->status().message()),
              AllOf(HasSubstr("try 3"), HasSubstr("before, at x://a"), HasSubstr("before, at x://b")));
}

TEST_F(HedgeTest, WhatIsWrongWithTheRequestIsNotWaitedFor) {
  Make({"x://a", "x://b"}, After(absl::Milliseconds(20)));
  const auto result = Call();
  Pass(absl::Milliseconds(20));
  Answer(0, absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(result->has_value());
  EXPECT_EQ((*result)->status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(transport_.cancelled, ElementsAre(1u));
}

TEST_F(HedgeTest, AnAnswerThatComesLateChangesNothing) {
  transport_.cancel_completes = false;
  Make({"x://a", "x://b"}, After(absl::Milliseconds(20)));
  const auto result = Call();
  Pass(absl::Milliseconds(20));
  Answer(1);
  ASSERT_TRUE(result->has_value());
  Answer(0, absl::StatusCode::kInternal);
  EXPECT_TRUE((*result)->ok());
}

TEST_F(HedgeTest, TheLoserIsNotPutAside) {
  RoutePolicy policy = After(absl::Milliseconds(20));
  policy.eject_after = 1;
  policy.hedge.percent = 100;
  Make({"x://a", "x://b"}, policy);
  for (int i = 0; i < 10; ++i) {
    const size_t before = sent();
    Call();
    Pass(absl::Milliseconds(20));
    ASSERT_EQ(sent(), before + 2);
    Answer(before + 1);
  }
  EXPECT_EQ(metrics_.Value("portico_portal_ejections_total"), 0);
}

TEST_F(HedgeTest, TheLoserCountsAsAtLeastSoSlowSoThatOthersArePreferred) {
  Make({"x://a", "x://b"}, After(absl::Milliseconds(20)));
  Call();
  ASSERT_EQ(transport_.calls[0].endpoint, "x://a");
  Pass(absl::Milliseconds(20));
  clock_.now += absl::Milliseconds(1);
  Answer(1);
  Call();
  EXPECT_EQ(transport_.calls[2].endpoint, "x://b");
}

TEST_F(HedgeTest, HedgesStayWithinTheirBudget) {
  Make({"x://a", "x://b"}, After(absl::Milliseconds(20)));
  constexpr int kCalls = 2000;
  for (int i = 0; i < kCalls; ++i) {
    const size_t first = sent();
    Call();
    Pass(absl::Milliseconds(20));
    Answer(first);
  }
  EXPECT_LE(sent(), kCalls * 106u / 100);
  EXPECT_GE(sent(), kCalls * 105u / 100);
  EXPECT_EQ(metrics_.Value("portico_portal_hedges_total"), static_cast<double>(sent() - kCalls));
  EXPECT_EQ(metrics_.Value("portico_portal_hedges_refused_total"), static_cast<double>(2 * kCalls - sent()));
}

TEST_F(HedgeTest, APercentileIsLearnedFromTheCalls) {
  RoutePolicy policy;
  policy.hedge.percentile = 95;
  Make({"x://a", "x://b"}, policy);
  Call();
  Pass(absl::Seconds(5));
  EXPECT_EQ(sent(), 1u) << "nothing is known yet";
  Answer(0);
  for (int i = 0; i < 200; ++i) AnswerAfter(absl::Milliseconds(i % 100 < 90 ? 2 : 10));
  const size_t before = sent();
  Call();
  Pass(absl::Milliseconds(9));
  EXPECT_EQ(sent(), before + 1);
  Pass(absl::Milliseconds(3));
  EXPECT_EQ(sent(), before + 2);
}

TEST_F(HedgeTest, BothTriesAreInTheTrace) {
  Make({"x://a", "x://b"}, After(absl::Milliseconds(20)));
  auto context = MakeRef<RequestContext>();
  context->trace.sampled = true;
  Call(context);
  Pass(absl::Milliseconds(20));
  clock_.now += absl::Milliseconds(2);
  Answer(1);
  std::vector<Span> spans = context->spans.Take();
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].name, "portal m, try 2 (hedge)");
  EXPECT_EQ(spans[0].duration, absl::Milliseconds(2));
  EXPECT_EQ(spans[0].error, "");
  EXPECT_EQ(spans[1].name, "portal m");
  EXPECT_EQ(spans[1].duration, absl::Milliseconds(22));
  EXPECT_EQ(spans[1].error, "CANCELLED");
  EXPECT_EQ(transport_.calls[0].header.parent_span_id, spans[1].span_id);
  EXPECT_EQ(transport_.calls[1].header.parent_span_id, spans[0].span_id);
}

TEST_F(HedgeTest, AClientThatGoesTakesItsCallsBackAtOnce) {
  Make({"x://a", "x://b"}, After(absl::Milliseconds(20)));
  auto context = MakeRef<RequestContext>();
  const auto result = Call(context);
  Pass(absl::Milliseconds(20));
  context->Cancel();
  EXPECT_THAT(transport_.cancelled, ::testing::UnorderedElementsAre(0u, 1u));
  ASSERT_TRUE(result->has_value());
  EXPECT_EQ((*result)->status().code(), absl::StatusCode::kCancelled);
  Pass(absl::Seconds(1));
  EXPECT_EQ(sent(), 2u);
}

TEST_F(HedgeTest, AClientThatGoesWithoutHedgingTakesItsCallBackAtOnce) {
  Make({"x://a", "x://b"}, RoutePolicy());
  auto context = MakeRef<RequestContext>();
  const auto result = Call(context);
  context->Cancel();
  EXPECT_THAT(transport_.cancelled, ElementsAre(0u));
  ASSERT_TRUE(result->has_value());
  EXPECT_EQ((*result)->status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(sent(), 1u) << "nobody else is asked for a client that has gone";
}

TEST_F(HedgeTest, WhatIsAnsweredIsNotCancelledLater) {
  Make({"x://a", "x://b"}, RoutePolicy());
  auto context = MakeRef<RequestContext>();
  Call(context);
  Answer(0);
  context->Cancel();
  EXPECT_THAT(transport_.cancelled, IsEmpty());
}

TEST_F(HedgeTest, MoreCallsThanTheWindowHoldsAreRefusedAndBlameNobody) {
  RoutePolicy policy;
  policy.max_in_flight = 2;
  policy.eject_after = 1;
  Make({"x://a", "x://b"}, policy);
  Call();
  Call();
  const auto refused = Call();
  EXPECT_EQ(sent(), 2u);
  ASSERT_TRUE(refused->has_value());
  EXPECT_EQ((*refused)->status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string((*refused)->status().message()),
              AllOf(HasSubstr("portal to 'm'"), HasSubstr("got 2 calls"), HasSubstr("at most 2 (max_in_flight)")));
  EXPECT_EQ(metrics_.Value("portico_portal_window_refused_total"), 1);
  EXPECT_EQ(metrics_.Value("portico_portal_ejections_total"), 0);
  Answer(0);
  Call();
  EXPECT_EQ(sent(), 3u) << "an answer makes room";
}

}  // namespace
}  // namespace portico
