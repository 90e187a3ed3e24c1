#include "deploy/ramps.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/latency_quantile.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A mesh of two nodes in which version 2 of `m` takes over from 1: what requests there are in half a second goes to
/// the arms by their weights, and the controller is asked. No clock but the test's.
class RampsTest : public ::testing::Test {
 protected:
  RampsTest() {
    current_.number = 1;
    TrafficSplit& split = current_.traffic["m"];
    split.arms = {{{"1", "m", 1}, 100, 100}, {{"2", "m", 2}, 0, 0}};
    TrafficSplit::Ramp& ramp = split.ramp.emplace();
    ramp.to = split.arms[1].target;
    ramp.steps = {1, 10, 50, 100};
    ramp.every = absl::Minutes(1);
    ramp.min_requests = 50;
    ApplyRamp(&split);
    for (const char* node : {"a/0", "b/0"})
      nodes_.push_back({node, 100, {{.model = "m", .arm = "1"}, {.model = "m", .arm = "2"}}});
  }

  TrafficSplit::Ramp& ramp() { return *current_.traffic["m"].ramp; }

  /// How version 2 is.
  struct Canary {
    double error_percent = 0;
    absl::Duration latency = absl::Milliseconds(10);
    double disagreement_percent = 0;
  };

  /// Half a second with `rate` requests at each node.
  void Tick(double rate, const Canary& canary) {
    now_ += absl::Milliseconds(500);
    for (NodeCounts& node : nodes_) {
      const double share = PercentOf(current_.traffic["m"], "2") / 100;
      owed_ += rate * share;
      const auto to_canary = static_cast<uint64_t>(owed_);
      owed_ -= static_cast<double>(to_canary);
      const uint64_t to_first = static_cast<uint64_t>(rate) - std::min(static_cast<uint64_t>(rate), to_canary);
      Answer(to_first, {}, &node.arms[0]);
      Answer(to_canary, canary, &node.arms[1]);
      // Copies of the others' requests.
      node.arms[1].compared += to_first;
      disagree_ += static_cast<double>(to_first) * canary.disagreement_percent / 100;
      node.arms[1].disagreed += static_cast<uint64_t>(disagree_);
      disagree_ -= std::floor(disagree_);
    }
    if (auto next = ramps_.Next(current_, nodes_, now_)) {
      next->number = current_.number + 1;
      current_ = *std::move(next);
      reasons_.push_back(current_.reason);
    }
  }
  void Answer(uint64_t requests, const Canary& how, ArmCounts* arm) {
    fail_ += static_cast<double>(requests) * how.error_percent / 100;
    const auto failed = static_cast<uint64_t>(fail_);
    fail_ -= static_cast<double>(failed);
    arm->requests += requests;
    arm->errors += failed;
    if (requests == failed) return;
    arm->latencies[LatencyQuantile::BucketOf(static_cast<uint64_t>(absl::ToInt64Microseconds(how.latency)))] +=
        requests - failed;
  }
  void Run(absl::Duration time, double rate, const Canary& canary) {
    for (const absl::Time until = now_ + time; now_ < until;) Tick(rate, canary);
  }

  Ramps ramps_;
  Revision current_;
  std::vector<NodeCounts> nodes_;
  std::vector<std::string> reasons_;
  absl::Time now_ = absl::UnixEpoch();
  double owed_ = 0, fail_ = 0, disagree_ = 0;
};

TEST_F(RampsTest, GoodArmGoesFromStepToStepAndGetsEverything) {
  const absl::Time start = now_;
  Run(absl::Minutes(5), 500, {});
  EXPECT_EQ(ramp().state, TrafficSplit::Ramp::State::kDone);
  EXPECT_DOUBLE_EQ(PercentOf(current_.traffic["m"], "2"), 100);
  EXPECT_THAT(reasons_, ElementsAre(HasSubstr("goes from 1 % to 10 %"), HasSubstr("goes from 10 % to 50 %"),
                                    HasSubstr("goes from 50 % to 100 %"), HasSubstr("is done at 100 %")));
  EXPECT_GE(now_ - start, absl::Minutes(4));
  EXPECT_EQ(Ramps::Wake(current_, now_), absl::InfiniteFuture());
}

TEST_F(RampsTest, ArmThatFailsIsTakenBackBeforeItsStepIsOver) {
  Run(absl::Seconds(40), 500, {.error_percent = 5});
  EXPECT_EQ(ramp().state, TrafficSplit::Ramp::State::kRolledBack);
  EXPECT_DOUBLE_EQ(PercentOf(current_.traffic["m"], "2"), 0);
  ASSERT_EQ(reasons_.size(), 1u);
  EXPECT_THAT(reasons_[0], HasSubstr("ramp of 'm' to '2' is rolled back at 1 %: got "));
  EXPECT_THAT(reasons_[0], HasSubstr("% errors in "));
  EXPECT_EQ(ramp().why, reasons_[0].substr(reasons_[0].find("got ")));
  // It stays so.
  Run(absl::Minutes(5), 500, {});
  EXPECT_EQ(reasons_.size(), 1u);
}

TEST_F(RampsTest, SlowArmIsTakenBack) {
  Run(absl::Minutes(2), 500, {.latency = absl::Milliseconds(20)});
  EXPECT_EQ(ramp().state, TrafficSplit::Ramp::State::kRolledBack);
  EXPECT_THAT(ramp().why, HasSubstr("got a p99 of"));
}

TEST_F(RampsTest, SomewhatSlowerIsNotSlow) {
  Run(absl::Minutes(5), 500, {.latency = absl::Milliseconds(13)});
  EXPECT_EQ(ramp().state, TrafficSplit::Ramp::State::kDone) << ramp().why;
}

TEST_F(RampsTest, ArmThatDisagreesIsTakenBack) {
  ramp().disagreement_percent = 2;
  Run(absl::Minutes(1), 500, {.disagreement_percent = 3});
  EXPECT_EQ(ramp().state, TrafficSplit::Ramp::State::kRolledBack);
  EXPECT_THAT(ramp().why, HasSubstr("copies that disagree"));
}

TEST_F(RampsTest, ArmThatAgreesOftenEnoughPasses) {
  ramp().disagreement_percent = 2;
  Run(absl::Minutes(5), 500, {.disagreement_percent = 1});
  EXPECT_EQ(ramp().state, TrafficSplit::Ramp::State::kDone) << ramp().why;
}

TEST_F(RampsTest, ErrorsThatAllArmsHaveAreNoReason) {
  // Requests that are wrong: one in ten.
  for (int i = 0; i < 600; ++i) {
    for (NodeCounts& node : nodes_) {
      node.arms[0].requests += 20;
      node.arms[0].errors += 2;
    }
    Tick(500, {.error_percent = 0.5});
  }
  EXPECT_EQ(ramp().state, TrafficSplit::Ramp::State::kDone) << ramp().why;
}

TEST_F(RampsTest, FewRequestsHoldItWhereItIs) {
  Run(absl::Minutes(10), 1, {});
  EXPECT_EQ(ramp().step, 0u);
  EXPECT_EQ(ramp().state, TrafficSplit::Ramp::State::kRunning);
  EXPECT_TRUE(reasons_.empty());
  EXPECT_THAT(ramps_.TakeNews(), ElementsAre(HasSubstr("1 % (step 1 of 4)"), HasSubstr("waits for requests: got ")));
  Run(absl::Minutes(2), 500, {});
  EXPECT_GT(ramp().step, 0u);
}

TEST_F(RampsTest, LastStepIsHeldAgainstTheOneBefore) {
  Run(absl::Seconds(190), 500, {});
  ASSERT_EQ(ramp().step, 3u);
  Run(absl::Seconds(20), 500, {.latency = absl::Milliseconds(40)});
  EXPECT_EQ(ramp().state, TrafficSplit::Ramp::State::kRolledBack);
}

TEST_F(RampsTest, ProcessesThatStartAnewCountFromZero) {
  Run(absl::Seconds(30), 500, {});
  const uint64_t before = nodes_[0].arms[1].requests;
  ASSERT_GT(before, 0u);
  nodes_[0].process = 101;
  for (ArmCounts& arm : nodes_[0].arms) arm = {.model = arm.model, .arm = arm.arm};
  Run(absl::Seconds(31), 500, {});
  EXPECT_EQ(ramp().step, 1u);
  // What was counted before the ramp began is nothing to it.
  Revision later = current_;
  Ramps anew;
  nodes_[0].arms[1].errors = nodes_[0].arms[1].requests = 100'000;
  EXPECT_FALSE(anew.Next(later, nodes_, now_).has_value());
  EXPECT_FALSE(anew.Next(later, nodes_, now_ + absl::Seconds(1)).has_value());
}

TEST_F(RampsTest, GoingBackStopsItWhereItIs) {
  StopRamps("back to revision 1", &current_);
  Run(absl::Minutes(5), 500, {.error_percent = 50});
  EXPECT_EQ(ramp().state, TrafficSplit::Ramp::State::kStopped);
  EXPECT_DOUBLE_EQ(PercentOf(current_.traffic["m"], "2"), 1);
}

}  // namespace
}  // namespace portico
