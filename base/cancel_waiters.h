#pragma once

#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "base/mutex.h"

namespace portico {

/// The places where work of one request waits and from which it can be taken back when its client goes. Thread-safe.
class CancelWaiters {
 public:
  /// Such a place.
  class Waiter {
   public:
    /// The client has gone; `ticket` and `key` are what Add() was given. On the thread that cancels, under a lock:
    /// completes nothing, and calls neither Add() nor Remove().
    virtual void OnCancel(uint64_t ticket, uint64_t key) = 0;

   protected:
    ~Waiter() = default;
  };

  /// `waiter` is not owned; Remove() comes before it goes. One that is added after NotifyAll() is not told: look at
  /// RequestContext::cancelled afterwards.
  void Add(Waiter* waiter, uint64_t ticket, uint64_t key);
  /// Does nothing where it was told already. When it returns, OnCancel() is not running and will not be called.
  void Remove(Waiter* waiter, uint64_t ticket);
  /// Tells all, once each.
  void NotifyAll();

 private:
  struct Entry {
    Waiter* waiter;
    uint64_t ticket;
    uint64_t key;
  };
  Mutex mutex_;
  absl::InlinedVector<Entry, 2> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
