#include "deploy/rollout.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using Step = Rollout::Step;
using Node = Rollout::Node;

const absl::Time kStart = absl::FromUnixSeconds(1000);

/// From revision 4 to 5: `a` and `b` stay, `c` comes, `d` leaves.
Rollout Sample() {
  Rollout::Options options;
  options.number = 5;
  options.nodes = {"a", "b", "c"};
  options.leaving = {"d"};
  options.prepare_by = kStart + absl::Seconds(10);
  options.drain_timeout = absl::Seconds(30);
  return Rollout(options);
}

Node On(const std::string& id, uint64_t current, uint64_t prepared, uint64_t oldest) {
  return {id, /*running=*/true, current, prepared, oldest, 0, ""};
}

TEST(RolloutTest, FlipsWhenAllArePreparedAndRetiresWhenAllHaveDrainedAndLeft) {
  Rollout rollout = Sample();
  EXPECT_EQ(rollout.wake(), kStart + absl::Seconds(10));
  const Node d = On("d", 4, 4, 4);
  // `c` has just been started.
  EXPECT_EQ(rollout.Next({On("a", 4, 5, 4), On("b", 4, 5, 4), {"c", true}, d}, kStart), Step::kWait);
  EXPECT_EQ(rollout.Next({On("a", 4, 5, 4), On("b", 4, 5, 4), On("c", 5, 5, 5), d}, kStart), Step::kFlip);
  // Not all have seen it; then a request of the old one is left.
  EXPECT_EQ(rollout.Next({On("a", 5, 5, 5), On("b", 4, 5, 4), On("c", 5, 5, 5), d}, kStart), Step::kWait);
  EXPECT_EQ(rollout.Next({On("a", 5, 5, 5), On("b", 5, 5, 4), On("c", 5, 5, 5), d}, kStart), Step::kWait);
  const std::vector<Node> drained = {On("a", 5, 5, 5), On("b", 5, 5, 5), On("c", 5, 5, 5)};
  std::vector<Node> all = drained;
  all.push_back(d);
  EXPECT_EQ(rollout.Next(all, kStart), Step::kStopLeaving);
  EXPECT_EQ(rollout.why(), "");
  EXPECT_EQ(rollout.Next(all, kStart + absl::Hours(1)), Step::kWait);
  all.back().running = false;
  EXPECT_EQ(rollout.Next(all, kStart), Step::kRetire);
  EXPECT_EQ(rollout.Next(drained, kStart), Step::kWait);
}

TEST(RolloutTest, OneNodeThatCannotPrepareItEndsIt) {
  Rollout rollout = Sample();
  Node b = On("b", 4, 4, 4);
  b.refused = 3;  // An earlier one.
  b.why = "no such op";
  EXPECT_EQ(rollout.Next({On("a", 4, 5, 4), b, On("c", 5, 5, 5)}, kStart), Step::kWait);
  b.refused = 5;
  EXPECT_EQ(rollout.Next({On("a", 4, 5, 4), b, On("c", 5, 5, 5)}, kStart), Step::kRefuse);
  EXPECT_EQ(rollout.why(), "node 'b': no such op");
}

TEST(RolloutTest, ANodeThatWasDownBeforeIsNotWaitedForUnlessItComesBack) {
  Rollout::Options options;
  options.number = 5;
  options.nodes = {"a", "b"};
  options.down = {"b"};
  Rollout rollout(options);
  const Node down{"b", /*running=*/false};
  EXPECT_EQ(rollout.Next({On("a", 4, 4, 4), down}, kStart), Step::kWait);
  EXPECT_EQ(rollout.Next({On("a", 4, 5, 4), On("b", 4, 4, 4)}, kStart), Step::kWait) << "it is back, and loading";
  EXPECT_EQ(rollout.Next({On("a", 4, 5, 4), down}, kStart), Step::kFlip);
  // One that ends while it is being prepared is another matter.
  options.down.clear();
  Rollout another(options);
  EXPECT_EQ(another.Next({On("a", 4, 5, 4), down}, kStart), Step::kWait);
}

TEST(RolloutTest, TakingTooLongEndsItAndSaysWho) {
  Rollout rollout = Sample();
  const std::vector<Node> nodes = {On("a", 4, 5, 4), {"b", false, 4, 5}, On("c", 0, 0, 0)};
  EXPECT_EQ(rollout.Next(nodes, kStart + absl::Seconds(9)), Step::kWait);
  EXPECT_EQ(rollout.Next(nodes, kStart + absl::Seconds(10)), Step::kRefuse);
  EXPECT_EQ(rollout.why(), "got it not prepared in time by b, c");
}

TEST(RolloutTest, WhatDoesNotDrainIsWaitedForSoLongAndACrashedNodeNotAtAll) {
  Rollout rollout = Sample();
  EXPECT_EQ(rollout.Next({On("a", 4, 5, 4), On("b", 4, 5, 4), On("c", 5, 5, 5)}, kStart), Step::kFlip);
  const std::vector<Node> nodes = {On("a", 5, 5, 4), {"b", false, 4, 4, 4}, On("c", 5, 5, 5)};
  EXPECT_EQ(rollout.Next(nodes, kStart + absl::Seconds(29)), Step::kWait);
  EXPECT_EQ(rollout.wake(), kStart + absl::Seconds(30));
  EXPECT_EQ(rollout.Next(nodes, rollout.wake()), Step::kStopLeaving);
  EXPECT_EQ(rollout.why(), "a");
  // `d` is not there any more.
  EXPECT_EQ(rollout.Next(nodes, kStart + absl::Seconds(31)), Step::kRetire);
}

}  // namespace
}  // namespace portico
