#include "remote_op/experts_watcher.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/router/fake_transport.h"

namespace portico {
namespace {

class ExpertsWatcherTest : public ::testing::Test {
 protected:
  static PortalSpec Spec(const ExpertsWatch& watch, int experts) {
    PortalSpec spec;
    spec.op_type = "Experts";
    spec.node_name = "moe";
    spec.experts.emplace();
    for (int e = 0; e < experts; ++e) spec.experts->targets.push_back({absl::StrCat("e", e), Digest()});
    spec.experts->watch = watch;
    return spec;
  }
  void Watch(const ExpertsWatch& watch, int experts = 2) {
    watcher_ = ExpertsWatcher::Make(Spec(watch, experts), clock_, metrics_);
  }
  /// Requests of 100 rows, a second apart.
  void Ask(int requests, const std::vector<int64_t>& sent, double entropy) {
    for (int i = 0; i < requests; ++i) {
      clock_.now += absl::Seconds(1);
      for (size_t e = 0; e < sent.size(); ++e) {
        if (sent[e] > 0) watcher_->Sent(static_cast<int32_t>(e), sent[e]);
      }
      watcher_->Came(100, entropy);
    }
  }

  /// Whatever is watched.
  double Drifted() const { return metrics_.Value("portico_experts_drifted"); }

  FakeClock clock_;
  CountedMetrics metrics_;
  std::unique_ptr<ExpertsWatcher> watcher_;
};

TEST_F(ExpertsWatcherTest, WhatIsNotExpectedIsNotWatched) {
  Watch({});
  EXPECT_EQ(watcher_, nullptr);
}

TEST_F(ExpertsWatcherTest, AnExpertThatGetsMoreOrLessThanItsShareIsToldAndTakenBack) {
  Watch({.load = {0.3f, 0.7f}, .load_within = 0.1, .over = absl::Seconds(20)});
  Ask(30, {35, 65}, -1);
  EXPECT_EQ(Drifted(), 0) << "within what is allowed";
  Ask(30, {50, 50}, -1);
  EXPECT_EQ(Drifted(), 1);
  Ask(30, {39, 61}, -1);
  EXPECT_EQ(Drifted(), 0) << "inside again";
}

TEST_F(ExpertsWatcherTest, AFewRowsMakeNoAlarm) {
  Watch({.load = {0.5f, 0.5f}, .over = absl::Minutes(10)});
  Ask(9, {0, 10}, -1);
  EXPECT_EQ(Drifted(), 0) << "90 rows";
  Ask(2, {0, 10}, -1);
  EXPECT_EQ(Drifted(), 1) << "110 rows, all to one of two";
}

TEST_F(ExpertsWatcherTest, GatesThatNoLongerDecideAreTold) {
  Watch({.entropy = 0.2, .entropy_within = 0.1, .over = absl::Seconds(20)});
  Ask(30, {}, 0.25);
  EXPECT_EQ(Drifted(), 0);
  Ask(30, {}, 0.9);
  EXPECT_EQ(Drifted(), 1);
  Ask(30, {}, -1);
  EXPECT_EQ(Drifted(), 1) << "gates without an entropy say nothing, neither does silence";
  Ask(30, {}, 0.25);
  EXPECT_EQ(Drifted(), 0);
}

}  // namespace
}  // namespace portico
