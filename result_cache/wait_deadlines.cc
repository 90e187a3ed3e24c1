#include "result_cache/wait_deadlines.h"

#include <map>
#include <vector>

#include "base/mutex.h"

namespace portico {

class WaitDeadlines::State : public std::enable_shared_from_this<State> {
 public:
  State(Timer& timer, Executor& workers, const Clock& clock) : timer_(timer), workers_(workers), clock_(clock) {}

  Ticket Add(absl::Time deadline, Ref<ParkedCall> call) {
    Ticket ticket;
    {
      MutexLock lock(&mutex_);
      ticket = {deadline, next_++};
      calls_.emplace(ticket, std::move(call));
      if (armed_for_ <= deadline) return ticket;
      armed_for_ = deadline;
    }
    Arm(deadline);
    return ticket;
  }

  void Remove(const Ticket& ticket) {
    Ref<ParkedCall> call;  // Freed outside the lock.
    MutexLock lock(&mutex_);
    const auto found = calls_.find(ticket);
    if (found == calls_.end()) return;
    call = std::move(found->second);
    calls_.erase(found);
  }

  /// Returns when nothing is being handed to the workers, and nothing will be.
  void Stop() {
    MutexLock lock(&mutex_);
    stopped_ = true;
  }

  size_t size() const {
    MutexLock lock(&mutex_);
    return calls_.size();
  }

 private:
  void Arm(absl::Time at) {
    timer_.ScheduleAt(at, [weak = weak_from_this(), at] {
      if (const auto state = weak.lock()) state->OnTimer(at);
    });
  }

  void OnTimer(absl::Time at) {
    std::vector<Ref<ParkedCall>> late;  // The last to hold one lets go outside the lock.
    absl::Time next = absl::InfiniteFuture();
    {
      MutexLock lock(&mutex_);
      // One that was set for a later time, before a sooner one was.
      if (stopped_ || at != armed_for_) return;
      const absl::Time now = clock_.Now();
      while (!calls_.empty() && calls_.begin()->first.first <= now) {
        late.push_back(std::move(calls_.begin()->second));
        calls_.erase(calls_.begin());
      }
      if (!calls_.empty()) next = calls_.begin()->first.first;
      armed_for_ = next;
      for (const Ref<ParkedCall>& call : late) workers_.Schedule([call] { call->OnDeadline(); });
    }
    if (next != absl::InfiniteFuture()) Arm(next);
  }

  Timer& timer_;
  Executor& workers_;
  const Clock& clock_;
  mutable Mutex mutex_;
  std::map<Ticket, Ref<ParkedCall>> calls_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  /// When the timer that counts goes off.
  absl::Time armed_for_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
};

WaitDeadlines::WaitDeadlines(Timer& timer, Executor& workers, const Clock& clock)
    : state_(std::make_shared<State>(timer, workers, clock)) {}

WaitDeadlines::~WaitDeadlines() { state_->Stop(); }

WaitDeadlines::Ticket WaitDeadlines::Add(absl::Time deadline, Ref<ParkedCall> call) {
  return state_->Add(deadline, std::move(call));
}

void WaitDeadlines::Remove(const Ticket& ticket) { state_->Remove(ticket); }

size_t WaitDeadlines::size() const { return state_->size(); }

}  // namespace portico
