#pragma once

#include <memory>
#include <utility>

#include "base/executor.h"
#include "base/mutex.h"

namespace portico {

/// One thread whose first task starts it: what is off costs none. Thread-safe. Shared by those who schedule, so that
/// they need not know whether it has stopped.
class LazyPool final : public Executor {
 public:
  /// Of the thread: see ThreadPool::Options.
  explicit LazyPool(ThreadPool::Options options) : options_(std::move(options)) {}

  /// Once it has stopped the task is destroyed unrun.
  void Schedule(Task task) override {
    MutexLock lock(&mutex_);
    if (stopped_) return;
    if (pool_ == nullptr) pool_ = std::make_unique<ThreadPool>(options_);
    pool_->Schedule(std::move(task));
  }
  /// Runs what is queued and joins. Not on its thread.
  void Stop() {
    std::unique_ptr<ThreadPool> pool;
    {
      MutexLock lock(&mutex_);
      stopped_ = true;
      pool = std::move(pool_);
    }
  }

 private:
  const ThreadPool::Options options_;
  Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<ThreadPool> pool_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
