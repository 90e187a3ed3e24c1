#include "router/hedge_queue.h"

#include <algorithm>
#include <utility>

namespace portico {

void HedgeQueue::Add(Entry& entry, Ref<RefCounted> owner, absl::Time due, Timer& timer) {
  Shard& shard = shards_.Own();
  {
    MutexLock lock(&shard.mutex);
    entry.shard_ = &shard;
    entry.owner_ = std::move(owner);
    entry.before_ = shard.last;
    entry.after_ = nullptr;
    if (shard.last != nullptr) due = std::max(due, shard.last->due_);
    entry.due_ = due;
    (shard.last == nullptr ? shard.first : shard.last->after_) = &entry;
    shard.last = &entry;
    if (std::exchange(shard.armed, true)) return;
  }
  timer.ScheduleAt(due, [&shard, due, &timer] { OnTimer(shard, due, timer); });
}

void HedgeQueue::Remove(Entry& entry) {
  Shard* const shard = entry.shard_;
  if (shard == nullptr) return;
  Ref<RefCounted> owner;  // Dropped outside the lock.
  MutexLock lock(&shard->mutex);
  if (entry.owner_) owner = Unlink(*shard, entry);
}

Ref<RefCounted> HedgeQueue::Unlink(Shard& shard, Entry& entry) {
  (entry.before_ == nullptr ? shard.first : entry.before_->after_) = entry.after_;
  (entry.after_ == nullptr ? shard.last : entry.after_->before_) = entry.before_;
  return std::exchange(entry.owner_, nullptr);
}

void HedgeQueue::OnTimer(Shard& shard, absl::Time due, Timer& timer) {
  for (;;) {
    Ref<RefCounted> owner;
    Entry* entry;
    {
      MutexLock lock(&shard.mutex);
      entry = shard.first;
      if (entry == nullptr) {
        shard.armed = false;
        return;
      }
      if (entry->due_ > due) {
        due = entry->due_;
        break;
      }
      owner = Unlink(shard, *entry);
    }
    entry->OnHedgeDue();
  }
  timer.ScheduleAt(due, [&shard, due, &timer] { OnTimer(shard, due, timer); });
}

}  // namespace portico
