#include "result_cache/wait_deadlines.h"

#include <atomic>
#include <memory>
#include <optional>
#include <thread>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/testing/fakes.h"

namespace portico {
namespace {

class CountingCall final : public ParkedCall {
 public:
  void OnLanded(size_t, Outcome, const Ref<const RowAnswer>&) override {}
  void OnDeadline() override { ++told; }
  void OnCancel() override {}
  int told = 0;
};

TEST(WaitDeadlinesTest, TellsOfEachDeadlineOnce) {
  FakeClock clock;
  FakeTimer timer(clock);
  ManualExecutor workers;
  WaitDeadlines deadlines(timer, workers, clock);
  const auto late = MakeRef<CountingCall>();
  const auto soon = MakeRef<CountingCall>();
  const auto gone = MakeRef<CountingCall>();
  deadlines.Add(clock.Now() + absl::Seconds(2), late);
  deadlines.Add(clock.Now() + absl::Seconds(1), soon);
  deadlines.Remove(deadlines.Add(clock.Now() + absl::Seconds(1), gone));
  clock.Advance(absl::Seconds(1));
  timer.RunDue();
  workers.RunAll();
  EXPECT_EQ(soon->told, 1);
  EXPECT_EQ(late->told, 0);
  clock.Advance(absl::Seconds(1));
  timer.RunDue();
  workers.RunAll();
  EXPECT_EQ(soon->told, 1);
  EXPECT_EQ(late->told, 1);
  EXPECT_EQ(gone->told, 0);
}

/// Lets somebody destroy the deadlines while it is being handed a task.
class SlowExecutor final : public Executor {
 public:
  void Schedule(Task) override {
    in_schedule = true;
    const absl::Time until = absl::Now() + absl::Milliseconds(100);
    while (!deadlines_gone && absl::Now() < until) std::this_thread::yield();
    gone_meanwhile = deadlines_gone.load();
  }
  std::atomic<bool> in_schedule{false};
  std::atomic<bool> deadlines_gone{false};
  bool gone_meanwhile = false;
};

TEST(WaitDeadlinesTest, TheWorkersAreNotTouchedOnceItIsGone) {
  FakeClock clock;
  FakeTimer timer(clock);
  SlowExecutor workers;
  std::optional<WaitDeadlines> deadlines;
  deadlines.emplace(timer, workers, clock);
  deadlines->Add(clock.Now(), MakeRef<CountingCall>());
  std::thread owner([&] {
    while (!workers.in_schedule) std::this_thread::yield();
    deadlines.reset();
    workers.deadlines_gone = true;
  });
  timer.RunDue();
  owner.join();
  // Whoever destroys it may destroy the workers next.
  EXPECT_FALSE(workers.gone_meanwhile);
}

}  // namespace
}  // namespace portico
