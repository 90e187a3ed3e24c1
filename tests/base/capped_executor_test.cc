#include "base/capped_executor.h"

#include <atomic>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/fakes.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

TEST(CappedExecutorTest, PassesOnlySoManyOnAndKeepsTheOrder) {
  ManualExecutor inner;
  CappedExecutor capped(2, inner);
  std::vector<int> ran;
  for (int i = 0; i < 5; ++i) capped.Schedule([&ran, i] { ran.push_back(i); });
  EXPECT_EQ(inner.queued(), 2);
  inner.RunOne();
  EXPECT_EQ(inner.queued(), 2);
  inner.RunAll();
  EXPECT_THAT(ran, ElementsAre(0, 1, 2, 3, 4));
}

TEST(CappedExecutorTest, AnotherUserOfTheWorkersGetsItsTurn) {
  ManualExecutor inner;
  CappedExecutor capped(1, inner);
  std::vector<int> ran;
  for (int i = 0; i < 3; ++i) capped.Schedule([&ran, i] { ran.push_back(i); });
  inner.Schedule([&ran] { ran.push_back(100); });
  inner.RunAll();
  EXPECT_THAT(ran, ElementsAre(0, 100, 1, 2));
}

TEST(CappedExecutorTest, ATaskThatIsDroppedGivesItsPlaceBack) {
  ManualExecutor inner;
  CappedExecutor capped(1, inner);
  std::vector<int> ran;
  capped.Schedule([&ran] { ran.push_back(0); });
  inner.DropAll();
  capped.Schedule([&ran] { ran.push_back(1); });
  inner.RunAll();
  EXPECT_THAT(ran, ElementsAre(1));
}

TEST(CappedExecutorTest, WhatWaitsIsDestroyedUnrunWhenItGoes) {
  ManualExecutor inner;
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = held;
  bool ran = false;
  {
    CappedExecutor capped(1, inner);
    capped.Schedule([&ran] { ran = true; });
    capped.Schedule([held = std::move(held)] { FAIL(); });
  }
  EXPECT_TRUE(watch.expired());
  inner.RunAll();
  EXPECT_TRUE(ran);
}

TEST(CappedExecutorTest, ThreadsNeverRunMoreThanTheLimit) {
  std::atomic<int> inside{0}, most{0}, ran{0};
  ThreadPool pool({.threads = 4});
  {
    CappedExecutor capped(2, pool);
    for (int i = 0; i < 1000; ++i) {
      capped.Schedule([&] {
        const int now = ++inside;
        int seen = most.load();
        while (seen < now && !most.compare_exchange_weak(seen, now)) {
        }
        --inside;
        if (++ran == 1000) ran.notify_one();
      });
    }
    for (int seen = ran.load(); seen < 1000; seen = ran.load()) ran.wait(seen);
  }
  pool.Stop();
  EXPECT_LE(most.load(), 2);
}

}  // namespace
}  // namespace portico
