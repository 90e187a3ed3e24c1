#include "base/timer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <vector>

#include "absl/time/clock.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

TEST(TimerTest, RunsTasksWhenTheyAreDueSoonestFirst) {
  std::vector<int> order;
  std::atomic<bool> finished{false};
  const absl::Time start = absl::Now();
  absl::Time last;
  TimerThread timer(Clock::Real());
  timer.ScheduleAt(start + absl::Milliseconds(20), [&] {
    order.push_back(3);
    last = absl::Now();
    finished = true;
    finished.notify_one();
  });
  timer.ScheduleAt(start + absl::Milliseconds(10), [&] { order.push_back(1); });
  timer.ScheduleAt(start + absl::Milliseconds(10), [&] { order.push_back(2); });
  finished.wait(false);
  EXPECT_THAT(order, ElementsAre(1, 2, 3));
  EXPECT_GE(last, start + absl::Milliseconds(20));
}

TEST(TimerTest, WhatIsOverdueRunsAtOnce) {
  std::atomic<bool> finished{false};
  TimerThread timer(Clock::Real());
  timer.ScheduleAt(absl::InfinitePast(), [&] {
    finished = true;
    finished.notify_one();
  });
  finished.wait(false);
}

TEST(TimerTest, DropsWhatIsNotDueWhenDestroyed) {
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = owned;
  bool ran = false;
  {
    TimerThread timer(Clock::Real());
    timer.ScheduleAt(absl::Now() + absl::Hours(1), [owned = std::move(owned), &ran] { ran = true; });
  }
  EXPECT_TRUE(watch.expired());
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace portico
