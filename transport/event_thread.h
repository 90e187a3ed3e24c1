#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <thread>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace portico {

/// One thread that runs tasks in the order they were posted, and timers when they are due. For transports that have no
/// reactor of their own: deadlines, and telling a channel's owner of changes. Tasks hand off fast.
///
/// Threads: any, unless said otherwise. The destructor drops what has not run.
class EventThread {
 public:
  using Task = absl::AnyInvocable<void()>;
  /// Names a timer; never the same twice.
  using Timer = std::pair<absl::Time, uint64_t>;

  /// `clock` is not owned and must outlive the thread.
  explicit EventThread(const Clock& clock);
  ~EventThread();

  void Post(Task task);
  /// Runs `task` at `when`, or soon where that has passed.
  Timer At(absl::Time when, Task task);
  /// The timer will not run unless it has begun to. What it captured is destroyed in this call.
  void Drop(const Timer& timer);
  /// Blocks until what was posted before has run. REQUIRES: not on this thread.
  void Flush();

 private:
  void Run();

  const Clock& clock_;
  Mutex mutex_;
  CondVar wake_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mutex_);
  std::map<Timer, Task> timers_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_timer_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace portico
