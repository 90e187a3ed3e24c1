#include "cli/fan_out.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

/// One in a hundred takes 50 times as long; nobody waits.
FanOut Idle() {
  FanOut fan_out;
  fan_out.service = {{0, 1e-3}, {0.99, 1.001e-3}, {0.9901, 50e-3}, {1, 50e-3}};
  fan_out.cores = 1000;
  fan_out.busy = 0.01;
  fan_out.requests = 20'000;
  return fan_out;
}

TEST(FanOut, TheSlowestShardDecides) {
  const auto result = SimulateFanOut(Idle(), {1, 10, 100}, 0);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->latencies.size(), 3u);
  EXPECT_NEAR(result->latencies[0].p50, 1e-3, 1e-5);
  EXPECT_NEAR(result->latencies[1].p50, 1e-3, 1e-5) << "0.99^10 is 90 %";
  EXPECT_NEAR(result->latencies[2].p50, 50e-3, 1e-3) << "0.99^100 is 37 %";
  EXPECT_EQ(result->hedged, 0);
}

TEST(FanOut, HedgingTakesTheTailAway) {
  const auto result = SimulateFanOut(Idle(), {100}, 2e-3);
  ASSERT_TRUE(result.ok()) << result.status();
  // A call is slow where both are: one in ten thousand.
  EXPECT_LT(result->latencies[0].p50, 4e-3);
  EXPECT_NEAR(result->latencies[0].p99, 3e-3, 1e-3) << "0.9999^100 is 99 %";
  EXPECT_NEAR(result->hedged, 0.01, 0.002);
}

TEST(FanOut, AQueueTakesTheTimeThatTheoryGivesIt) {
  // One core, always the same time, half busy (M/D/1): the mean wait is half a service time, and half of all wait none.
  FanOut fan_out;
  fan_out.service = {{0, 1e-3}, {1, 1e-3}};
  fan_out.replicas = 1;
  fan_out.cores = 1;
  fan_out.busy = 0.5;
  fan_out.requests = 100'000;
  const auto result = SimulateFanOut(fan_out, {1}, 0);
  ASSERT_TRUE(result.ok()) << result.status();
  const auto p49 = CallLatency(fan_out, 0.49);
  const auto p60 = CallLatency(fan_out, 0.60);
  ASSERT_TRUE(p49.ok() && p60.ok());
  EXPECT_NEAR(*p49, 1e-3, 2e-5);
  EXPECT_GT(*p60, 1.05e-3);
  // P(wait > 3 services) at half load is about 1 %: the tail falls by exp(-1.26) a service time.
  EXPECT_NEAR(result->latencies[0].p99, 1e-3 + 3.2e-3, 0.6e-3);
}

TEST(FanOut, ReplicasShareTheLoad) {
  FanOut one;
  one.service = {{0, 1e-3}, {1, 1e-3}};
  one.replicas = 1;
  one.cores = 1;
  one.busy = 0.7;
  FanOut two = one;
  two.replicas = 4;
  EXPECT_LT(*CallLatency(two, 0.99), *CallLatency(one, 0.99));
}

TEST(FanOut, TheSameSeedGivesTheSameResult) {
  const auto one = SimulateFanOut(Idle(), {1, 7}, 2e-3), other = SimulateFanOut(Idle(), {1, 7}, 2e-3);
  ASSERT_TRUE(one.ok() && other.ok());
  EXPECT_EQ(one->latencies[1].p999, other->latencies[1].p999);
  FanOut seeded = Idle();
  seeded.seed = 2;
  EXPECT_NE(SimulateFanOut(seeded, {7}, 2e-3)->latencies[0].p50, one->latencies[1].p50);
}

TEST(FanOut, ReadsServiceTimes) {
  const auto service = ParseServiceTimes("0=20us,0.5=35us,1=2ms");
  ASSERT_TRUE(service.ok()) << service.status();
  ASSERT_EQ(service->size(), 3u);
  EXPECT_EQ((*service)[1], std::make_pair(0.5, 35e-6));
  EXPECT_THAT(std::string(ParseServiceTimes("0=20us,p50=3").status().message()), HasSubstr("got 'p50=3'"));
  EXPECT_THAT(std::string(ParseServiceTimes("2=20us").status().message()), HasSubstr("want SHARE=TIME"));
}

TEST(FanOut, RefusesWhatMakesNoSense) {
  FanOut fan_out = Idle();
  fan_out.busy = 1;
  EXPECT_THAT(std::string(SimulateFanOut(fan_out, {1}, 0).status().message()), HasSubstr("busy share: got 1"));
  fan_out = Idle();
  fan_out.service = {{0, 1e-3}, {0.5, 2e-3}};
  EXPECT_THAT(std::string(SimulateFanOut(fan_out, {1}, 0).status().message()), HasSubstr("for the shares 0 and 1"));
  fan_out.service = {{0, 2e-3}, {1, 1e-3}};
  EXPECT_THAT(std::string(SimulateFanOut(fan_out, {1}, 0).status().message()), HasSubstr("do not fall"));
}

}  // namespace
}  // namespace portico
