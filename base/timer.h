#pragma once

#include <cstdint>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/mutex.h"

namespace portico {

/// Runs tasks at set times, on a thread of its own or (a test's fake) when told to. Tasks must be short: they hand work
/// to an Executor. Thread-safe.
class Timer {
 public:
  virtual ~Timer() = default;

  /// Runs `task` once `at` has come; at once, but never inside the call, where it has passed.
  virtual void ScheduleAt(absl::Time at, Executor::Task task) = 0;

  /// The process's timer. Never destroyed; its thread starts with the first use.
  static Timer& Real();
};

/// One thread that sleeps until the next task is due. Tasks of the same time run in the order they were scheduled.
///
/// The destructor drops what is not yet due (destroyed unrun) and joins; it is not called from a task.
class TimerThread final : public Timer {
 public:
  /// `clock` is not owned and must outlive the timer. It must advance with real time.
  explicit TimerThread(const Clock& clock);
  ~TimerThread() override;
  void ScheduleAt(absl::Time at, Executor::Task task) override;

 private:
  struct Entry {
    absl::Time at;
    uint64_t number;
    Executor::Task task;
    /// Latest first: the standard heap keeps the greatest on top.
    friend bool operator<(const Entry& a, const Entry& b) { return a.at != b.at ? a.at > b.at : a.number > b.number; }
  };
  void Work();

  const Clock& clock_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<Entry> heap_ ABSL_GUARDED_BY(mutex_);
  uint64_t scheduled_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace portico
