#pragma once

#include <atomic>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "base/mutex.h"

namespace portico {

/// What other threads want of a thread that waits in epoll: tasks, and a descriptor that wakes it.
///
/// The waiting thread:
///
///   inbox.FallAsleep();  // From here on, who adds work does it or wakes us; what was added before, we see below.
///   epoll_wait(…, inbox.has_tasks() || … ? 0 : timeout);  // inbox.fd() is readable: inbox.ClearSignal()
///   inbox.AwakeAgain();
///   inbox.RunTasks();
///
/// All else on any thread.
class TaskInbox {
 public:
  using Task = absl::AnyInvocable<void()>;

  TaskInbox();
  ~TaskInbox();
  TaskInbox(const TaskInbox&) = delete;
  TaskInbox& operator=(const TaskInbox&) = delete;

  int fd() const { return fd_; }
  void FallAsleep() { asleep_.store(true); }
  void AwakeAgain() { asleep_.store(false); }
  void ClearSignal();
  bool has_tasks() const { return has_tasks_.load(); }
  /// In the order in which they were posted.
  void RunTasks();

  void Post(Task task);
  /// Posts and waits until it has run. Not on the waiting thread; holding no lock.
  void PostAndWait(Task task);
  bool asleep() const { return asleep_.load(); }
  void Wake();

 private:
  const int fd_;
  std::atomic<bool> asleep_{false};
  std::atomic<bool> has_tasks_{false};
  Mutex mutex_;
  std::vector<Task> tasks_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
