#pragma once

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/mutex.h"
#include "base/timer.h"
#include "base/turn.h"

namespace portico {

/// A clock that moves when told to. Thread-safe.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(absl::Time now = absl::FromUnixSeconds(1'000'000)) : now_(now) {}
  absl::Time Now() const override {
    MutexLock lock(&mutex_);
    return now_;
  }
  void Advance(absl::Duration by) {
    MutexLock lock(&mutex_);
    now_ += by;
  }

 private:
  mutable Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
};

/// Keeps tasks until the test runs them, on the test's thread. Scheduling is thread-safe.
class ManualExecutor final : public Executor {
 public:
  void Schedule(Task task) override {
    MutexLock lock(&mutex_);
    tasks_.push_back(std::move(task));
  }
  Turn* TurnHere() const override { return Turn::Current(); }
  void WakeAnother() override {
    MutexLock lock(&mutex_);
    ++woken_;
  }
  size_t queued() const {
    MutexLock lock(&mutex_);
    return tasks_.size();
  }
  /// Calls of WakeAnother().
  int woken() const {
    MutexLock lock(&mutex_);
    return woken_;
  }
  /// Runs the oldest task. False when there is none.
  bool RunOne() {
    Task task;
    {
      MutexLock lock(&mutex_);
      if (tasks_.empty()) return false;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
    return true;
  }
  /// Runs tasks, also those they schedule, until none is left. Returns how many.
  int RunAll() {
    int count = 0;
    while (RunOne()) ++count;
    return count;
  }
  /// Destroys what is queued without running it, as an executor that stops does.
  void DropAll() {
    std::deque<Task> dropped;
    MutexLock lock(&mutex_);
    std::swap(dropped, tasks_);
  }

 private:
  mutable Mutex mutex_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mutex_);
  int woken_ ABSL_GUARDED_BY(mutex_) = 0;
};

/// Runs what is due when the test says so, on the test's thread.
class FakeTimer final : public Timer {
 public:
  /// `clock` is not owned and must outlive the timer.
  explicit FakeTimer(const Clock& clock) : clock_(clock) {}
  void ScheduleAt(absl::Time at, Executor::Task task) override {
    MutexLock lock(&mutex_);
    entries_.push_back({at, std::move(task)});
  }
  size_t queued() const {
    MutexLock lock(&mutex_);
    return entries_.size();
  }
  /// Runs what is due by the clock, soonest first. Returns how many.
  int RunDue() {
    int count = 0;
    while (true) {
      Executor::Task task;
      {
        MutexLock lock(&mutex_);
        const auto next = std::min_element(entries_.begin(), entries_.end(),
                                           [](const Entry& a, const Entry& b) { return a.at < b.at; });
        if (next == entries_.end() || next->at > clock_.Now()) return count;
        task = std::move(next->task);
        entries_.erase(next);
      }
      task();
      ++count;
    }
  }

 private:
  struct Entry {
    absl::Time at;
    Executor::Task task;
  };
  const Clock& clock_;
  mutable Mutex mutex_;
  std::vector<Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
