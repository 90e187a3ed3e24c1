#include "base/capped_executor.h"

#include <deque>
#include <utility>

#include "base/check.h"
#include "base/mutex.h"

namespace portico {

class CappedExecutor::State : public std::enable_shared_from_this<State> {
 public:
  State(int limit, Executor& inner) : limit_(limit), inner_(inner) { PORTICO_CHECK(limit >= 1); }

  void Schedule(Task task) {
    {
      MutexLock lock(&mutex_);
      if (running_ == limit_) {
        waiting_.push_back(std::move(task));
        return;
      }
      ++running_;
    }
    inner_.Schedule(Turn(shared_from_this(), std::move(task)));
  }

  void WakeAnother() { inner_.WakeAnother(); }

  void DropWaiting() {
    std::deque<Task> dropped;  // Destroyed outside the lock.
    MutexLock lock(&mutex_);
    std::swap(dropped, waiting_);
  }

 private:
  /// A task that holds one of the places, also where the inner executor drops it.
  class Turn {
   public:
    Turn(std::shared_ptr<State> state, Task task) : state_(std::move(state)), task_(std::move(task)) {}
    Turn(Turn&&) noexcept = default;
    ~Turn() {
      if (state_ == nullptr) return;
      task_ = nullptr;
      state_->EndTurn();
    }
    void operator()() {
      const std::shared_ptr<State> state = std::exchange(state_, nullptr);
      std::exchange(task_, nullptr)();
      state->EndTurn();
    }

   private:
    std::shared_ptr<State> state_;
    Task task_;
  };

  /// The place goes to who waits first, or is free.
  void EndTurn() {
    Task next;
    {
      MutexLock lock(&mutex_);
      if (waiting_.empty()) {
        --running_;
        return;
      }
      next = std::move(waiting_.front());
      waiting_.pop_front();
    }
    inner_.Schedule(Turn(shared_from_this(), std::move(next)));
  }

  const int limit_;
  Executor& inner_;
  Mutex mutex_;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<Task> waiting_ ABSL_GUARDED_BY(mutex_);
};

CappedExecutor::CappedExecutor(int limit, Executor& inner) : state_(std::make_shared<State>(limit, inner)) {}

CappedExecutor::~CappedExecutor() { state_->DropWaiting(); }

void CappedExecutor::Schedule(Task task) { state_->Schedule(std::move(task)); }

void CappedExecutor::WakeAnother() { state_->WakeAnother(); }

}  // namespace portico
