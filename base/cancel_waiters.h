#pragma once

#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "base/mutex.h"
#include "base/ref.h"

namespace portico {

/// Work of a request that is under way elsewhere, such as a portal's call: its end can be asked for. Shared by whoever
/// may ask.
class CancelHook : public RefCounted {
 public:
  /// The client has gone. Once, on the thread that cancels, under no lock; may complete the work. May still come after
  /// Remove() where both meet.
  virtual void OnCancel() = 0;
};

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
  /// The same for work that is under way elsewhere.
  void Add(Ref<CancelHook> hook);
  void Remove(const CancelHook& hook);
  /// Tells all, once each: waiters, then hooks.
  void NotifyAll();

 private:
  struct Entry {
    Waiter* waiter;
    uint64_t ticket;
    uint64_t key;
  };
  Mutex mutex_;
  absl::InlinedVector<Entry, 2> entries_ ABSL_GUARDED_BY(mutex_);
  absl::InlinedVector<Ref<CancelHook>, 1> hooks_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
