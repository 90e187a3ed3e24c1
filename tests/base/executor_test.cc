#include "base/executor.h"

#include <atomic>
#include <memory>

#include "base/gate.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(ThreadPoolTest, StopRunsWhatIsQueued) {
  std::atomic<int> ran{0};
  {
    ThreadPool pool({.threads = 3, .name = "test"});
    for (int i = 0; i < 1000; ++i) pool.Schedule([&ran] { ++ran; });
    pool.Stop();
    EXPECT_EQ(ran, 1000);
  }
}

TEST(ThreadPoolTest, TaskMayScheduleTasks) {
  std::atomic<int> ran{0};
  Gate gate;
  ThreadPool pool({.threads = 2});
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(gate.Enter());
    pool.Schedule([&] {
      pool.Schedule([&] {
        ++ran;
        gate.Leave();
      });
    });
  }
  EXPECT_TRUE(gate.Drain(absl::Seconds(30)));
  EXPECT_EQ(ran, 10);
}

TEST(ThreadPoolTest, WakingAnotherWhereNothingWaitsIsHarmless) {
  std::atomic<int> ran{0};
  ThreadPool pool({.threads = 2});
  for (int i = 0; i < 1000; ++i) {
    pool.Schedule([&ran] { ++ran; });
    pool.WakeAnother();
  }
  pool.Stop();
  pool.WakeAnother();
  EXPECT_EQ(ran, 1000);
}

TEST(ThreadPoolTest, TaskIsDestroyedBeforeTheNextRuns) {
  ThreadPool pool({.threads = 1});
  auto shared = std::make_shared<int>(1);
  std::weak_ptr<int> watched = shared;
  std::atomic<bool> gone{false};
  pool.Schedule([held = std::move(shared)] {});
  pool.Schedule([&] { gone = watched.expired(); });
  pool.Stop();
  EXPECT_TRUE(gone);
}

TEST(GateTest, ClosedGateRefusesAndDrainWaits) {
  Gate gate;
  ASSERT_TRUE(gate.Enter());
  gate.Close();
  EXPECT_FALSE(gate.Enter());
  EXPECT_FALSE(gate.Drain(absl::Milliseconds(1)));
  std::thread leaver([&] { gate.Leave(); });
  EXPECT_TRUE(gate.Drain(absl::Seconds(30)));
  leaver.join();
  EXPECT_EQ(gate.inside(), 0);
}

}  // namespace
}  // namespace portico
