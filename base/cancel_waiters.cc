#include "base/cancel_waiters.h"

#include <utility>

namespace portico {

void CancelWaiters::Add(Waiter* waiter, uint64_t ticket, uint64_t key) {
  MutexLock lock(&mutex_);
  entries_.push_back({waiter, ticket, key});
}

void CancelWaiters::Remove(Waiter* waiter, uint64_t ticket) {
  MutexLock lock(&mutex_);
  for (Entry& entry : entries_) {
    if (entry.waiter != waiter || entry.ticket != ticket) continue;
    entry = entries_.back();
    entries_.pop_back();
    return;
  }
}

void CancelWaiters::Add(Ref<CancelHook> hook) {
  MutexLock lock(&mutex_);
  hooks_.push_back(std::move(hook));
}

void CancelWaiters::Remove(const CancelHook& hook) {
  Ref<CancelHook> removed;  // Dropped outside the lock.
  MutexLock lock(&mutex_);
  for (Ref<CancelHook>& added : hooks_) {
    if (added.get() != &hook) continue;
    removed = std::exchange(added, nullptr);
    std::swap(added, hooks_.back());
    hooks_.pop_back();
    return;
  }
}

void CancelWaiters::NotifyAll() {
  absl::InlinedVector<Ref<CancelHook>, 1> hooks;
  {
    MutexLock lock(&mutex_);
    while (!entries_.empty()) {
      const Entry entry = entries_.back();
      entries_.pop_back();
      entry.waiter->OnCancel(entry.ticket, entry.key);
    }
    hooks = std::exchange(hooks_, {});
  }
  for (const Ref<CancelHook>& hook : hooks) hook->OnCancel();
}

}  // namespace portico
