#include "base/turn.h"

#include <utility>

#include "base/check.h"

namespace portico {
namespace {

thread_local Turn* current = nullptr;

}  // namespace

Turn::Turn(absl::AnyInvocable<void()> ask) : ask_(std::move(ask)) {
  PORTICO_CHECK(current == nullptr);
  current = this;
}

Turn::~Turn() {
  // What is dropped may complete requests, which may want to schedule: no longer here.
  current = nullptr;
  tasks_.clear();
}

Turn* Turn::Current() { return current; }

void Turn::Add(Executor::Task task) {
  tasks_.push_back(std::move(task));
  if (tasks_.size() == 1 && ask_) ask_();
}

void Turn::Finish() {
  // By index: tasks may add others, which moves them.
  for (size_t i = 0; i < tasks_.size(); ++i) {
    Executor::Task task = std::move(tasks_[i]);
    task();
  }
  tasks_.clear();
}

}  // namespace portico
