#include "base/timer.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace portico {

Timer& Timer::Real() {
  static TimerThread& timer = *new TimerThread(Clock::Real());
  return timer;
}

TimerThread::TimerThread(const Clock& clock) : clock_(clock) {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "timer");
    Work();
  });
}

TimerThread::~TimerThread() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  thread_.join();
}

void TimerThread::ScheduleAt(absl::Time at, Executor::Task task) {
  bool is_next;
  {
    MutexLock lock(&mutex_);
    heap_.push_back({.at = at, .number = scheduled_++, .task = std::move(task)});
    std::push_heap(heap_.begin(), heap_.end());
    is_next = heap_.front().number == scheduled_ - 1;
  }
  if (is_next) changed_.NotifyOne();
}

void TimerThread::Work() {
  mutex_.Lock();
  while (!stopping_) {
    if (heap_.empty()) {
      changed_.Wait(&mutex_);
      continue;
    }
    const absl::Duration wait = heap_.front().at - clock_.Now();
    if (wait > absl::ZeroDuration()) {
      changed_.WaitFor(&mutex_, wait);
      continue;
    }
    std::pop_heap(heap_.begin(), heap_.end());
    Executor::Task task = std::move(heap_.back().task);
    heap_.pop_back();
    mutex_.Unlock();
    task();
    task = nullptr;  // Whatever it owns goes before the lock is taken again.
    mutex_.Lock();
  }
  mutex_.Unlock();
}

}  // namespace portico
