#include "base/event_thread.h"

#include <atomic>
#include <future>
#include <memory>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

using ::testing::ElementsAre;

TEST(EventThread, TasksRunInOrderAndFlushWaitsForThem) {
  EventThread events("events", Clock::Real());
  std::vector<int> ran;
  for (int i = 0; i < 5; ++i) events.Post([&ran, i] { ran.push_back(i); });
  events.Flush();
  EXPECT_THAT(ran, ElementsAre(0, 1, 2, 3, 4));
}

TEST(EventThread, TimerWakesAThreadThatHasNothingElseToDo) {
  EventThread events("events", Clock::Real());
  events.Flush();
  std::promise<void> ran;
  events.At(Clock::Real().Now() + absl::Milliseconds(5), [&] { ran.set_value(); });
  ran.get_future().wait();
}

TEST(EventThread, EarlierTimerRunsFirst) {
  EventThread events("events", Clock::Real());
  const absl::Time now = Clock::Real().Now();
  std::promise<void> ran;
  events.At(now + absl::Hours(1), [] { FAIL(); });
  events.At(now + absl::Milliseconds(5), [&] { ran.set_value(); });
  ran.get_future().wait();
}

TEST(EventThread, DroppedTimerDoesNotRunAndFreesWhatItHeld) {
  EventThread events("events", Clock::Real());
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = held;
  const EventThread::TimerId timer =
      events.At(Clock::Real().Now() + absl::Hours(1), [held = std::move(held)] { FAIL(); });
  EXPECT_FALSE(watch.expired());
  events.Drop(timer);
  EXPECT_TRUE(watch.expired());
  events.Drop(timer);
}

TEST(EventThread, RunsTasksWhenTheyAreDueSoonestFirst) {
  std::vector<int> order;
  std::atomic<bool> finished{false};
  const absl::Time start = absl::Now();
  absl::Time last;
  EventThread timer("timer", Clock::Real());
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

TEST(EventThread, WhatIsOverdueRunsAtOnce) {
  std::atomic<bool> finished{false};
  EventThread timer("timer", Clock::Real());
  timer.ScheduleAt(absl::InfinitePast(), [&] {
    finished = true;
    finished.notify_one();
  });
  finished.wait(false);
}

TEST(EventThread, DropsWhatIsNotDueWhenDestroyed) {
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = owned;
  bool ran = false;
  {
    EventThread timer("timer", Clock::Real());
    timer.ScheduleAt(absl::Now() + absl::Hours(1), [owned = std::move(owned), &ran] { ran = true; });
  }
  EXPECT_TRUE(watch.expired());
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace portico
