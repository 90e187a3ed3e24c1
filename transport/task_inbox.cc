#include "transport/task_inbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

#include "base/check.h"

namespace portico {

TaskInbox::TaskInbox() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) { PORTICO_CHECK(fd_ >= 0); }

TaskInbox::~TaskInbox() { close(fd_); }

void TaskInbox::ClearSignal() {
  uint64_t value;
  [[maybe_unused]] const ssize_t got = read(fd_, &value, sizeof(value));
}

void TaskInbox::RunTasks() {
  if (!has_tasks_.load()) return;
  std::vector<Task> tasks;
  {
    MutexLock lock(&mutex_);
    tasks.swap(tasks_);
    has_tasks_.store(false);
  }
  for (Task& task : tasks) task();
}

void TaskInbox::Post(Task task) {
  {
    MutexLock lock(&mutex_);
    tasks_.push_back(std::move(task));
    has_tasks_.store(true);
  }
  Wake();
}

void TaskInbox::PostAndWait(Task task) {
  struct Done {
    Mutex mutex;
    CondVar changed;
    bool done ABSL_GUARDED_BY(mutex) = false;
  } done;
  Post([&task, &done] {
    task();
    MutexLock lock(&done.mutex);
    done.done = true;
    done.changed.NotifyAll();
  });
  MutexLock lock(&done.mutex);
  while (!done.done) done.changed.Wait(&done.mutex);
}

void TaskInbox::Wake() {
  if (!asleep_.exchange(false)) return;
  const uint64_t one = 1;
  // Fails only when the counter is full, and then the thread wakes as well.
  [[maybe_unused]] const ssize_t written = write(fd_, &one, sizeof(one));
}

}  // namespace portico
