#include "transport/event_thread.h"

#include <future>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace portico {
namespace {

TEST(EventThread, TasksRunInOrderAndFlushWaitsForThem) {
  EventThread events(Clock::Real());
  std::vector<int> ran;
  for (int i = 0; i < 5; ++i) events.Post([&ran, i] { ran.push_back(i); });
  events.Flush();
  EXPECT_THAT(ran, testing::ElementsAre(0, 1, 2, 3, 4));
}

TEST(EventThread, TimerWakesAThreadThatHasNothingElseToDo) {
  EventThread events(Clock::Real());
  events.Flush();
  std::promise<void> ran;
  events.At(Clock::Real().Now() + absl::Milliseconds(5), [&] { ran.set_value(); });
  ran.get_future().wait();
}

TEST(EventThread, EarlierTimerRunsFirst) {
  EventThread events(Clock::Real());
  const absl::Time now = Clock::Real().Now();
  std::promise<void> ran;
  events.At(now + absl::Hours(1), [] { FAIL(); });
  events.At(now + absl::Milliseconds(5), [&] { ran.set_value(); });
  ran.get_future().wait();
}

TEST(EventThread, DroppedTimerDoesNotRunAndFreesWhatItHeld) {
  EventThread events(Clock::Real());
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = held;
  const EventThread::Timer timer =
      events.At(Clock::Real().Now() + absl::Hours(1), [held = std::move(held)] { FAIL(); });
  EXPECT_FALSE(watch.expired());
  events.Drop(timer);
  EXPECT_TRUE(watch.expired());
  events.Drop(timer);
}

}  // namespace
}  // namespace portico
