#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/mutex.h"
#include "base/timer.h"

namespace portico {

/// One thread that runs tasks in the order they were posted, and timers when they are due (those of one time in the
/// order they were set). For the process's timer, and for transports that have no reactor of their own: deadlines, and
/// telling a channel's owner of changes. Tasks hand off fast.
///
/// Threads: any, unless said otherwise. The destructor drops what has not run (destroyed unrun) and joins; it is not
/// called from a task.
class EventThread final : public Timer {
 public:
  using Task = Executor::Task;
  /// Names a set timer; never the same twice.
  using TimerId = std::pair<absl::Time, uint64_t>;

  /// `name` is shown by ps and gdb. `clock` is not owned and must outlive the thread; it must advance with real time.
  EventThread(std::string name, const Clock& clock);
  ~EventThread() override;

  void Post(Task task);
  /// Runs `task` at `when`, or soon where that has passed.
  TimerId At(absl::Time when, Task task);
  void ScheduleAt(absl::Time at, Task task) override { At(at, std::move(task)); }
  /// The timer will not run unless it has begun to. What it captured is destroyed in this call.
  void Drop(const TimerId& timer);
  /// Blocks until what was posted before has run. REQUIRES: not on this thread.
  void Flush();

 private:
  void Run();

  const Clock& clock_;
  Mutex mutex_;
  CondVar wake_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mutex_);
  std::map<TimerId, Task> timers_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_timer_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace portico
