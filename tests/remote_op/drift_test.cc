// Shares of the last while, and when they have left what was expected of them.

#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "remote_op/drift_alarm.h"
#include "remote_op/share_window.h"

namespace portico {
namespace {

using Change = DriftAlarm::Change;
using Counts = ShareWindow::Counts;

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

TEST(ShareWindowTest, ForgetsWhatIsOlderThanTheWindow) {
  ShareWindow window(absl::Seconds(100));
  EXPECT_EQ(window.Sum(kStart).trials, 0);
  window.Add(kStart, 10, 4);
  window.Add(kStart + absl::Seconds(50), 20, 5);
  EXPECT_EQ(window.Sum(kStart + absl::Seconds(50)).trials, 30);
  EXPECT_EQ(window.Sum(kStart + absl::Seconds(50)).hits, 9);
  EXPECT_EQ(window.Sum(kStart + absl::Seconds(110)).trials, 20);
  EXPECT_EQ(window.Sum(kStart + absl::Seconds(200)).trials, 0);
  // The slice of long ago is begun anew.
  window.Add(kStart + absl::Seconds(1000), 1, 1);
  EXPECT_EQ(window.Sum(kStart + absl::Seconds(1000)).trials, 1);
  EXPECT_EQ(window.Sum(kStart + absl::Seconds(1000)).share(), 1);
}

TEST(ShareWindowTest, CountsOfManyThreadsAreThere) {
  ShareWindow window(absl::Hours(1));
  window.Add(kStart, 0, 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) window.Add(kStart + absl::Seconds(1), 3, i % 2);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(window.Sum(kStart).trials, 120'000);
  EXPECT_EQ(window.Sum(kStart).hits, 20'000);
}

TEST(WilsonBoundsTest, AreThoseOfTheFormula) {
  EXPECT_EQ(WilsonBounds({}, 2).low, 0);
  EXPECT_EQ(WilsonBounds({}, 2).high, 1);
  // None of ten: z² / (n + z²).
  EXPECT_DOUBLE_EQ(WilsonBounds({10, 0}, 1.96).low, 0);
  EXPECT_NEAR(WilsonBounds({10, 0}, 1.96).high, 0.277540, 1e-6);
  EXPECT_NEAR(WilsonBounds({100, 50}, 1.96).low, 0.40383, 1e-5);
  EXPECT_NEAR(WilsonBounds({100, 50}, 1.96).high, 0.59617, 1e-5);
  for (const int64_t hits : {0, 1, 37, 99, 100}) {
    const ShareBounds few = WilsonBounds({100, hits}, 3), many = WilsonBounds({10'000, 100 * hits}, 3);
    const double share = static_cast<double>(hits) / 100;
    EXPECT_LE(few.low, many.low + 1e-12);
    EXPECT_LE(many.low, share + 1e-12);
    EXPECT_LE(share, many.high + 1e-12);
    EXPECT_LE(many.high, few.high + 1e-12);
  }
}

TEST(DriftAlarmTest, NothingIsSaidOfFewRows) {
  DriftAlarm alarm(0.1, 0.14);
  EXPECT_EQ(alarm.Judge({DriftAlarm::kMinTrials - 1, DriftAlarm::kMinTrials - 1}), Change::kNone);
  // 20 of 100 may be chance.
  EXPECT_EQ(alarm.Judge({100, 20}), Change::kNone);
  EXPECT_EQ(alarm.Judge({10'000, 2'000}), Change::kDrifted);
}

TEST(DriftAlarmTest, SaysWhatHasChangedOnceAndNotBetweenTheTwo) {
  DriftAlarm alarm(0.1, 0.14);
  EXPECT_EQ(alarm.Judge({10'000, 1'200}), Change::kNone);
  EXPECT_EQ(alarm.Judge({10'000, 2'000}), Change::kDrifted);
  EXPECT_EQ(alarm.Judge({10'000, 2'100}), Change::kNone);
  EXPECT_TRUE(alarm.drifted());
  // A little beyond what is allowed, which chance could be: it neither begins nor ends here.
  EXPECT_EQ(alarm.Judge({10'000, 1'420}), Change::kNone);
  EXPECT_TRUE(alarm.drifted());
  EXPECT_EQ(alarm.Judge({10'000, 1'390}), Change::kBack);
  EXPECT_EQ(alarm.Judge({10'000, 1'420}), Change::kNone);
  EXPECT_FALSE(alarm.drifted());
  EXPECT_EQ(alarm.Judge({10'000, 500}), Change::kDrifted);
}

TEST(DriftAlarmTest, ChanceAloneMakesNoAlarmAndARealDriftDoes) {
  std::mt19937 random(3);
  int alarms = 0, found = 0;
  for (int run = 0; run < 300; ++run) {
    // As tuned: 12 %, with next to nothing allowed.
    DriftAlarm same(0.119, 0.121), other(0.119, 0.121);
    std::bernoulli_distribution as_tuned(0.12), drifted(0.2);
    Counts tuned, more;
    bool alarm = false, seen = false;
    for (int look = 0; look < 20; ++look) {
      for (int row = 0; row < 200; ++row) {
        tuned.hits += as_tuned(random) ? 1 : 0;
        more.hits += drifted(random) ? 1 : 0;
      }
      tuned.trials += 200;
      more.trials += 200;
      alarm |= same.Judge(tuned) == Change::kDrifted;
      seen |= other.Judge(more) == Change::kDrifted;
    }
    alarms += alarm ? 1 : 0;
    found += seen ? 1 : 0;
  }
  EXPECT_LE(alarms, 9) << "of 300 runs with 20 looks each";
  EXPECT_EQ(found, 300) << "4000 rows of 20 % are no 12 %";
}

}  // namespace
}  // namespace portico
