#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <limits>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/ref.h"
#include "transport/spin.h"
#include "transport/stream_buffers.h"
#include "transport/task_inbox.h"

namespace portico {

/// One thread over epoll that carries connections of `tcp://`, `unix://` and `shm://`. It reads, hands messages to
/// their owners, and before it sleeps writes what was queued meanwhile: so that under load many messages leave in one
/// call. While it sleeps, other threads write by themselves. Outlives its sources.
class StreamLoop {
 public:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  /// What has descriptors or a time to be called at.
  class Source : public RefCounted {
   public:
    /// epoll's events for a descriptor. May come once after its removal. On the loop's thread.
    virtual void OnReady(uint32_t events) = 0;
    /// After MarkDirty(). On the loop's thread.
    virtual void OnDirty() {}
    /// When OnDue() is to be called, in nanoseconds since the epoch. Asked only of timed sources.
    virtual int64_t due_ns() const { return kNever; }
    virtual void OnDue(absl::Time /*now*/) {}
    // Of sources that Poll() was called for, on the loop's thread: whether there is something to do that no event tells
    // of; do it; and, before the loop sleeps, that from now on an event tells (false: something has come).
    virtual bool Stirs() { return false; }
    virtual void OnStir() {}
    virtual bool Rest() { return true; }

   private:
    friend class StreamLoop;
    std::atomic<bool> dirty_{false};
    Source* next_dirty_ = nullptr;
    bool polled_ = false;
    /// Itself, while it is in the list of the dirty.
    Ref<Source> kept_;
  };

  StreamLoop(const Clock& clock, absl::Duration spin);
  /// REQUIRES: every source was removed.
  ~StreamLoop();

  const Clock& clock() const { return clock_; }
  StreamBuffers& buffers() { return buffers_; }
  /// Whether this is the loop's thread.
  bool Here() const { return std::this_thread::get_id() == thread_.get_id(); }

  // On the loop's thread. `source` is not owned while it watches; Drop() keeps it until the round is over.
  void Watch(int fd, uint32_t events, Source& source);
  void Drop(int fd, Ref<Source> source);
  void AddTimed(Ref<Source> source);
  void RemoveTimed(Source& source);
  /// Looks after `source` in every round, until it rests.
  void Poll(Source& source);
  void Unpoll(Source& source);
  /// Much has come at once, so more is near: polled sources are looked at for a few microseconds before the loop
  /// sleeps.
  void Linger() { lingers_ = true; }
  /// Writes what is queued everywhere.
  void DrainDirty();

  // On any thread.
  void Rewatch(int fd, uint32_t events, Source& source);
  /// Calls source.OnDirty() before the loop sleeps next. Wakes nobody.
  void MarkDirty(Source& source);
  /// Runs `task` on the loop's thread, in the order of the calls.
  void Post(TaskInbox::Task task) { inbox_.Post(std::move(task)); }
  /// The same, but at once where this is the loop's thread.
  void Dispatch(TaskInbox::Task task) {
    if (Here()) return task();
    Post(std::move(task));
  }
  /// Posts and waits; on the loop's thread it runs `task` at once. Holding no lock.
  void RunAndWait(TaskInbox::Task task) {
    if (Here()) return task();
    inbox_.PostAndWait(std::move(task));
  }
  /// True from before the loop looks a last time for dirty sources until it is awake again.
  bool asleep() const { return inbox_.asleep(); }
  void Wake() { inbox_.Wake(); }

 private:
  void Run();
  int SleepMs() const;
  int Wait(epoll_event* events);
  bool AnyStirs() const;
  void RunPolled();
  bool RestPolled();
  bool StirsSoon();
  void RunDue();

  const Clock& clock_;
  const int epoll_;
  TaskInbox inbox_;
  const Spin spin_;
  std::atomic<Source*> dirty_{nullptr};

  // Only on the loop's thread.
  StreamBuffers buffers_;
  std::vector<Ref<Source>> timed_;
  std::vector<Ref<Source>> dropped_;
  std::vector<Ref<Source>> polled_;
  int rounds_unasked_ = 0;
  bool lingers_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace portico
