#include "base/executor.h"

#include <pthread.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/thread_schedule.h"
#include "base/turn.h"

namespace portico {

ThreadPool::ThreadPool(Options options) {
  const int count =
      options.threads > 0 ? options.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  threads_.reserve(count);
  for (int i = 0; i < count; ++i) {
    threads_.emplace_back([this, name = absl::StrCat(options.name.substr(0, 12), "-", i), nice = options.nice] {
      pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
      if (nice > 0) YieldToServing(nice);
      Work(nice > 0);
    });
  }
}

ThreadPool::~ThreadPool() { Stop(); }

void ThreadPool::Schedule(Task task) {
  bool wake;
  {
    MutexLock lock(&mutex_);
    queue_.push_back(std::move(task));
    wake = idle_ > 0;
  }
  if (wake) wake_.NotifyOne();
}

Turn* ThreadPool::TurnHere() const { return Turn::Current(); }

void ThreadPool::WakeAnother() {
  bool wake;
  {
    MutexLock lock(&mutex_);
    wake = !queue_.empty() && idle_ > 0;
  }
  if (wake) wake_.NotifyOne();
}

void ThreadPool::Stop() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_.NotifyAll();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void ThreadPool::Work(bool background) {
  mutex_.Lock();
  while (true) {
    while (queue_.empty() && !stopping_) {
      ++idle_;
      wake_.Wait(&mutex_);
      --idle_;
    }
    if (queue_.empty()) break;
    Task task = std::move(queue_.front());
    queue_.pop_front();
    mutex_.Unlock();
    {
      std::optional<YieldOften> yield;
      if (background) yield.emplace();
      task();
      task = nullptr;  // Whatever it owns goes before the lock is taken again.
    }
    mutex_.Lock();
  }
  mutex_.Unlock();
}

}  // namespace portico
