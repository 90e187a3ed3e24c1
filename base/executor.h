#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "base/mutex.h"

namespace portico {

class Turn;

/// Runs tasks some time later, on some thread of its own or (a test's fake) when told to.
class Executor {
 public:
  using Task = absl::AnyInvocable<void()>;
  virtual ~Executor() = default;

  /// Never blocks and never runs `task` inside the call. Thread-safe.
  virtual void Schedule(Task task) = 0;

  /// Where a task of some ten microseconds may go instead, which saves the hand-off: the turn of the calling thread
  /// (base/turn.h). Null: it has none, or tasks have to be run here.
  virtual Turn* TurnHere() const { return nullptr; }

  /// Wakes one more idle thread where a scheduled task still waits: the one that was woken for it may be kept from
  /// its core (behind a kernel that is not preemptible, say) while another core is free. Thread-safe; costs a lock.
  virtual void WakeAnother() {}
};

/// Fixed number of threads over one first-in-first-out queue.
///
/// Threads: Schedule() from any thread, Stop() from a thread that is not one of its own. The destructor stops.
class ThreadPool final : public Executor {
 public:
  struct Options {
    /// Threads; 0 means one per core.
    int threads = 0;
    /// Shown by ps and gdb; at most 12 bytes count.
    std::string name = "worker";
    /// Added to the nice value of its threads (0 to 19): background work yields to serving (YieldOften).
    int nice = 0;
  };

  explicit ThreadPool(Options options);
  ~ThreadPool() override;

  void Schedule(Task task) override;
  Turn* TurnHere() const override;
  void WakeAnother() override;
  /// Runs what is queued, then joins. Tasks scheduled after the last one has run are dropped (destroyed unrun).
  void Stop();
  int size() const { return static_cast<int>(threads_.size()); }

 private:
  void Work(bool background);

  Mutex mutex_;
  CondVar wake_;
  std::deque<Task> queue_ ABSL_GUARDED_BY(mutex_);
  int idle_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace portico
