#include "base/cancel_waiters.h"

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

void CancelWaiters::NotifyAll() {
  MutexLock lock(&mutex_);
  while (!entries_.empty()) {
    const Entry entry = entries_.back();
    entries_.pop_back();
    entry.waiter->OnCancel(entry.ticket, entry.key);
  }
}

}  // namespace portico
