#pragma once

#include <memory>
#include <string>

#include "base/event_thread.h"
#include "base/mutex.h"
#include "base/timer.h"

namespace portico {

/// A timer whose thread starts with the first task: what is off costs no thread. Thread-safe.
class LazyTimer final : public Timer {
 public:
  /// `clock` is not owned, must outlive it, and advances with real time.
  LazyTimer(std::string name, const Clock& clock) : name_(std::move(name)), clock_(clock) {}

  void ScheduleAt(absl::Time at, Executor::Task task) override {
    MutexLock lock(&mutex_);
    if (stopped_) return;
    if (thread_ == nullptr) thread_ = std::make_unique<EventThread>(name_, clock_);
    thread_->ScheduleAt(at, std::move(task));
  }
  /// Drops what has not begun and waits for what has; later tasks are dropped, too.
  void Stop() {
    std::unique_ptr<EventThread> thread;
    {
      MutexLock lock(&mutex_);
      stopped_ = true;
      thread = std::move(thread_);
    }
  }

 private:
  const std::string name_;
  const Clock& clock_;
  Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<EventThread> thread_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
