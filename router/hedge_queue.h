#pragma once

#include <atomic>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "base/per_core.h"
#include "base/ref.h"
#include "base/timer.h"

namespace portico {

/// Calls of one target that will be hedged unless they are answered before. Nearly all are: a call is put in and taken
/// out without an allocation, and the timer is set once for many of them. Thread-safe; a short lock of the core's own.
///
/// All calls of a target wait equally long, give or take what was learned meanwhile, so the queue is a list in the
/// order of coming; one whose time is before that of its predecessor comes with that.
class HedgeQueue {
 private:
  struct Shard;

 public:
  /// A call that can wait here. One Add() at most.
  class Entry {
   public:
    /// The time has come. On the timer's thread, under no lock; the queue has let go of it.
    virtual void OnHedgeDue() = 0;

   protected:
    ~Entry() = default;

   private:
    friend class HedgeQueue;
    Shard* shard_ = nullptr;
    Entry* before_ = nullptr;
    Entry* after_ = nullptr;
    absl::Time due_;
    /// Not null while it waits.
    Ref<RefCounted> owner_;
  };

  HedgeQueue() = default;
  HedgeQueue(const HedgeQueue&) = delete;

  /// `owner` keeps `entry` alive while it waits. `timer` is not owned, and runs none of its tasks once the queue has
  /// gone.
  void Add(Entry& entry, Ref<RefCounted> owner, absl::Time due, Timer& timer);
  /// Does nothing where it does not wait.
  void Remove(Entry& entry);

 private:
  struct Shard {
    Mutex mutex;
    Entry* first ABSL_GUARDED_BY(mutex) = nullptr;
    Entry* last ABSL_GUARDED_BY(mutex) = nullptr;
    /// The timer will come.
    bool armed ABSL_GUARDED_BY(mutex) = false;
  };

  /// Lets go of it.
  static Ref<RefCounted> Unlink(Shard& shard, Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mutex);
  static void OnTimer(Shard& shard, absl::Time due, Timer& timer);

  PerCore<Shard> shards_;
};

}  // namespace portico
