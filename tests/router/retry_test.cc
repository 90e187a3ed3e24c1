// What the router does with answers that are none: another replica, within a budget; and replicas that keep failing.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/retry_budget.h"
#include "router/router.h"
#include "router/static_resolver.h"
#include "tests/router/one_target.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(RetryBudgetTest, IsFullAtFirstAndEarnsAPartOfARetryPerCall) {
  RetryBudget budget(/*percent=*/20, /*burst=*/2);
  EXPECT_TRUE(budget.Take());
  EXPECT_TRUE(budget.Take());
  EXPECT_FALSE(budget.Take());
  for (int i = 0; i < 4; ++i) budget.Earn();
  EXPECT_FALSE(budget.Take());
  budget.Earn();
  EXPECT_TRUE(budget.Take());
  EXPECT_FALSE(budget.Take());
  for (int i = 0; i < 1000; ++i) budget.Earn();
  EXPECT_TRUE(budget.Take());
  EXPECT_TRUE(budget.Take());
  EXPECT_FALSE(budget.Take()) << "it holds no more than the burst";
}

TEST(RetryBudgetTest, OfNoneIsAlwaysEmpty) {
  RetryBudget budget(/*percent=*/0, /*burst=*/100);
  EXPECT_FALSE(budget.Take());
}

class RetryTest : public OneTarget {
 protected:
  /// Where a call goes that is answered with `code` and, where it is tried again, with success.
  std::string CallAnswered(absl::StatusCode code) {
    const auto result = Call();
    const std::string endpoint = transport_.calls.back().endpoint;
    const size_t first = sent() - 1;
    Answer(first, code);
    if (sent() - 1 > first) Answer(sent() - 1);
    EXPECT_TRUE(result->has_value());
    return endpoint;
  }
};

TEST_F(RetryTest, ACallThatWasLostGoesToAnotherReplicaWithTheSameTensors) {
  Make({"x://a", "x://b"});
  const auto result = Call();
  ASSERT_EQ(sent(), 1u);
  Fail(0, absl::UnavailableError("lost"));
  ASSERT_EQ(sent(), 2u);
  EXPECT_FALSE(result->has_value());
  EXPECT_NE(transport_.calls[1].endpoint, transport_.calls[0].endpoint);
  EXPECT_EQ(transport_.calls[1].servable, "m");
  EXPECT_EQ(transport_.calls[0].header.attempt, 0u);
  EXPECT_EQ(transport_.calls[1].header.attempt, 1u);
  EXPECT_EQ(transport_.calls[1].tensors[0].data<int64_t>()[0], 42);
  Answer(1);
  ASSERT_TRUE(result->has_value());
  EXPECT_TRUE((*result)->ok());
}

TEST_F(RetryTest, AReplicaThatCannotTakeMoreOrDoesNotHoldTheModelOrItsBytesIsFollowedByAnother) {
  Make({"x://a", "x://b"});
  for (const absl::StatusCode code :
       {absl::StatusCode::kResourceExhausted, absl::StatusCode::kNotFound, absl::StatusCode::kDataLoss}) {
    const size_t before = sent();
    Call();
    Answer(before, code);
    ASSERT_EQ(sent(), before + 2) << absl::StatusCodeToString(code);
    Answer(before + 1);
  }
}

TEST_F(RetryTest, WhatAnotherReplicaWouldNotChangeIsNotTriedAgain) {
  Make({"x://a", "x://b"});
  for (const absl::StatusCode code :
       {absl::StatusCode::kInvalidArgument, absl::StatusCode::kDeadlineExceeded, absl::StatusCode::kInternal,
        absl::StatusCode::kCancelled, absl::StatusCode::kFailedPrecondition, absl::StatusCode::kOutOfRange}) {
    const size_t before = sent();
    const auto result = Call();
    Answer(before, code);
    EXPECT_EQ(sent(), before + 1) << absl::StatusCodeToString(code);
    EXPECT_TRUE(result->has_value());
  }
}

TEST_F(RetryTest, EachReplicaIsAskedOnceAndTheErrorNamesThemAll) {
  RoutePolicy policy;
  policy.retries = 5;
  Make({"x://a", "x://b", "x://c"}, policy);
  const auto result = Call();
  for (size_t i = 0; i < 3; ++i) Fail(i, absl::UnavailableError(absl::StrCat("gone ", i)));
  EXPECT_EQ(sent(), 3u);
  ASSERT_TRUE(result->has_value());
  EXPECT_EQ((*result)->status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string((*result)->status().message()),
              AllOf(HasSubstr("x://a"), HasSubstr("x://b"), HasSubstr("x://c"), HasSubstr("try 3: gone 2"),
                    HasSubstr("gone 0"), HasSubstr("gone 1")));
}

TEST_F(RetryTest, NoMoreThanThePolicyAllows) {
  RoutePolicy policy;
  policy.retries = 1;
  Make({"x://a", "x://b", "x://c"}, policy);
  const auto result = Call();
  Fail(0, absl::UnavailableError("gone"));
  Fail(1, absl::UnavailableError("gone"));
  EXPECT_EQ(sent(), 2u);
  EXPECT_TRUE(result->has_value());
}

TEST_F(RetryTest, NothingIsTriedAgainWithoutBudget) {
  RoutePolicy policy;
  policy.retry_percent = 0;
  Make({"x://a", "x://b"}, policy);
  const auto result = Call();
  Fail(0, absl::UnavailableError("gone"));
  EXPECT_EQ(sent(), 1u);
  EXPECT_TRUE(result->has_value());
}

TEST_F(RetryTest, NothingIsTriedAgainForAClientThatHasGoneOrWaitsNoMore) {
  Make({"x://a", "x://b"});
  auto gone = MakeRef<RequestContext>();
  Call(gone);
  gone->cancelled = true;
  Fail(0, absl::UnavailableError("lost"));
  EXPECT_EQ(sent(), 1u);
  auto late = MakeRef<RequestContext>();
  late->deadline = Deadline::In(absl::Seconds(1), clock_);
  Call(late);
  clock_.now += absl::Seconds(1);
  Fail(1, absl::UnavailableError("lost"));
  EXPECT_EQ(sent(), 2u);
}

TEST_F(RetryTest, NothingIsTriedAgainOnceTheRouterGoes) {
  Make({"x://a", "x://b"});
  const auto result = Call();
  router_ = nullptr;
  ASSERT_TRUE(result->has_value());
  EXPECT_EQ((*result)->status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(sent(), 1u);
}

TEST_F(RetryTest, AReplicaThatKeepsFailingIsPutAsideAndComesBackOnTrial) {
  RoutePolicy policy;
  policy.eject_after = 3;
  policy.eject_for = absl::Seconds(10);
  Make({"x://bad", "x://good"}, policy);
  const auto answer = [&] {
    const auto result = Call();
    const std::string endpoint = transport_.calls.back().endpoint;
    clock_.now += absl::Milliseconds(1);
    Answer(sent() - 1, endpoint == "x://bad" ? absl::StatusCode::kInternal : absl::StatusCode::kOk);
    return endpoint;
  };
  // Faults count as slow answers, so that the good one is preferred; only when it is busy does the bad one get calls.
  const auto busy_answer = [&] {
    std::vector<size_t> held;
    while (true) {
      Call();
      if (transport_.calls.back().endpoint == "x://bad" || held.size() == 4) break;
      held.push_back(sent() - 1);
    }
    const std::string endpoint = transport_.calls.back().endpoint;
    Answer(sent() - 1, endpoint == "x://bad" ? absl::StatusCode::kInternal : absl::StatusCode::kOk);
    for (const size_t call : held) Answer(call);
    return endpoint;
  };
  for (int i = 0; i < 3; ++i) EXPECT_EQ(busy_answer(), "x://bad");
  for (int i = 0; i < 10; ++i) EXPECT_EQ(busy_answer(), "x://good") << "it is put aside, however busy the other is";
  clock_.now += absl::Seconds(10);
  EXPECT_EQ(busy_answer(), "x://bad") << "on trial";
  clock_.now += absl::Seconds(15);
  EXPECT_EQ(busy_answer(), "x://good") << "one fault was enough, and twice as long";
  clock_.now += absl::Seconds(5);
  EXPECT_EQ(busy_answer(), "x://bad");
  EXPECT_EQ(answer(), "x://good");
}

TEST_F(RetryTest, WhereMostReplicasFailAllAreAskedAllTheSame) {
  RoutePolicy policy;
  policy.eject_after = 1;
  Make({"x://a", "x://b"}, policy);
  EXPECT_EQ(CallAnswered(absl::StatusCode::kInternal), "x://a");
  EXPECT_EQ(CallAnswered(absl::StatusCode::kInternal), "x://b");
  EXPECT_EQ(CallAnswered(absl::StatusCode::kInternal), "x://a");
  EXPECT_EQ(CallAnswered(absl::StatusCode::kOk), "x://a");
}

TEST_F(RetryTest, BadRequestsPutNoReplicaAside) {
  RoutePolicy policy;
  policy.eject_after = 1;
  Make({"x://a", "x://b"}, policy);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(CallAnswered(absl::StatusCode::kInvalidArgument), "x://a");
}

}  // namespace
}  // namespace portico
