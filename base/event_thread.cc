#include "base/event_thread.h"

#include <pthread.h>

#include "base/check.h"

namespace portico {

EventThread::EventThread(std::string name, const Clock& clock) : clock_(clock) {
  thread_ = std::thread([this, name = std::move(name)] {
    pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
    Run();
  });
}

EventThread::~EventThread() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_.NotifyOne();
  thread_.join();
}

void EventThread::Post(Task task) {
  MutexLock lock(&mutex_);
  tasks_.push_back(std::move(task));
  wake_.NotifyOne();
}

EventThread::TimerId EventThread::At(absl::Time when, Task task) {
  MutexLock lock(&mutex_);
  const TimerId timer(when, next_timer_++);
  timers_.emplace(timer, std::move(task));
  if (timers_.begin()->first == timer) wake_.NotifyOne();
  return timer;
}

void EventThread::Drop(const TimerId& timer) {
  std::map<TimerId, Task>::node_type dropped;  // Destroyed after the lock is gone: what a task captured may run code.
  MutexLock lock(&mutex_);
  dropped = timers_.extract(timer);
}

void EventThread::Flush() {
  PORTICO_CHECK(std::this_thread::get_id() != thread_.get_id());
  Mutex mutex;
  CondVar reached;
  bool done = false;
  Post([&] {
    MutexLock lock(&mutex);
    done = true;
    reached.NotifyOne();
  });
  MutexLock lock(&mutex);
  while (!done) reached.Wait(&mutex);
}

void EventThread::Run() {
  mutex_.Lock();
  while (!stopping_) {
    Task task;
    if (!tasks_.empty()) {
      task = std::move(tasks_.front());
      tasks_.pop_front();
    } else if (timers_.empty()) {
      wake_.Wait(&mutex_);
      continue;
    } else if (const absl::Duration left = timers_.begin()->first.first - clock_.Now(); left > absl::ZeroDuration()) {
      wake_.WaitFor(&mutex_, left);
      continue;
    } else {
      task = std::move(timers_.extract(timers_.begin()).mapped());
    }
    mutex_.Unlock();
    task();
    task = nullptr;  // Whatever it owns goes before the lock is taken again.
    mutex_.Lock();
  }
  mutex_.Unlock();
}

}  // namespace portico
