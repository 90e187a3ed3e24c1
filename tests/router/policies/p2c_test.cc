#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "router/policies/policy.h"

namespace portico {
namespace {

TEST(PolicyTable, UnknownNameIsRefusedWithTheKnownOnes) {
  const auto policy = NewBalancePolicy("roulette");
  EXPECT_EQ(policy.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(policy.status().message().find("p2c"), std::string::npos);
  for (const char* name : {"p2c", "round_robin", "consistent_hash", "locality"}) {
    EXPECT_TRUE(NewBalancePolicy(name).ok()) << name;
    EXPECT_NE(policy.status().message().find(name), std::string::npos) << name;
  }
}

TEST(PowerOfTwoChoices, EqualReplicasShareTheCallsEvenly) {
  const auto policy = NewPowerOfTwoChoices();
  const std::vector<Candidate> candidates(5);
  std::mt19937_64 random(7);
  std::vector<int> picks(5);
  for (int i = 0; i < 50'000; ++i) ++picks[policy->Pick(candidates, {.random = random()})];
  for (const int count : picks) EXPECT_NEAR(count, 10'000, 500);
}

TEST(PowerOfTwoChoices, ExtremeDrawsStayInRange) {
  const auto policy = NewPowerOfTwoChoices();
  for (const size_t size : {1u, 2u, 3u, 7u}) {
    const std::vector<Candidate> candidates(size);
    for (const uint64_t draw : {uint64_t{0}, ~uint64_t{0}, uint64_t{0xffffffff}, ~uint64_t{0xffffffff}}) {
      EXPECT_LT(policy->Pick(candidates, {.random = draw}), size);
    }
  }
}

TEST(PowerOfTwoChoices, OfTwoTheOneWithFewerCallsInFlightIsAlwaysTaken) {
  const auto policy = NewPowerOfTwoChoices();
  const std::vector<Candidate> candidates = {{.in_flight = 4, .latency_seconds = 0.001},
                                             {.in_flight = 3, .latency_seconds = 1}};
  std::mt19937_64 random(7);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(policy->Pick(candidates, {.random = random()}), 1u);
}

TEST(PowerOfTwoChoices, LatencyDecidesWhereCallsInFlightAreEqual) {
  const auto policy = NewPowerOfTwoChoices();
  const std::vector<Candidate> candidates = {{.in_flight = 1, .latency_seconds = 0.002},
                                             {.in_flight = 1, .latency_seconds = 0.001}};
  std::mt19937_64 random(7);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(policy->Pick(candidates, {.random = random()}), 1u);
}

TEST(PowerOfTwoChoices, TheBusiestOfManyIsNeverTakenAndTheIdlestNotAlways) {
  const auto policy = NewPowerOfTwoChoices();
  std::vector<Candidate> candidates(4);
  for (int i = 0; i < 4; ++i) candidates[i].in_flight = i;
  std::mt19937_64 random(7);
  std::vector<int> picks(4);
  for (int i = 0; i < 60'000; ++i) ++picks[policy->Pick(candidates, {.random = random()})];
  // Pairs that hold replica i as their idler one: 3, 2, 1 and 0 of 6.
  EXPECT_NEAR(picks[0], 30'000, 600);
  EXPECT_NEAR(picks[1], 20'000, 600);
  EXPECT_NEAR(picks[2], 10'000, 600);
  EXPECT_EQ(picks[3], 0);
}

}  // namespace
}  // namespace portico
