#pragma once

#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "transport/transport.h"

namespace portico {

/// A value that one thread sets and another waits for.
template <typename T>
class Arrival {
 public:
  void Set(T value) {
    MutexLock lock(&mutex_);
    values_.push_back(std::move(value));
    changed_.NotifyAll();
  }
  /// Whether `count` values came in time.
  bool WaitFor(size_t count, absl::Duration timeout = absl::Seconds(30)) {
    const absl::Time until = absl::Now() + timeout;
    MutexLock lock(&mutex_);
    while (values_.size() < count) {
      if (absl::Now() >= until) return false;
      changed_.WaitFor(&mutex_, until - absl::Now());
    }
    return true;
  }
  std::vector<T> Take() {
    MutexLock lock(&mutex_);
    return std::exchange(values_, {});
  }
  size_t size() {
    MutexLock lock(&mutex_);
    return values_.size();
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<T> values_ ABSL_GUARDED_BY(mutex_);
};

/// Does with every call what the test says; by default keeps it, unanswered.
class RecordingHandler final : public CallHandler {
 public:
  using Action = std::function<void(PeerMessage, PeerReply)>;
  struct Held {
    PeerMessage call;
    PeerReply reply;
  };

  RecordingHandler() = default;
  explicit RecordingHandler(Action action) : action_(std::move(action)) {}

  void OnCall(PeerMessage call, PeerReply reply) override {
    if (action_)
      action_(std::move(call), std::move(reply));
    else
      held.Set({std::move(call), std::move(reply)});
  }
  void OnCancel(uint64_t connection, uint64_t call_id) override { cancelled.Set({connection, call_id}); }

  Arrival<Held> held;
  Arrival<std::pair<uint64_t, uint64_t>> cancelled;

 private:
  const Action action_;
};

}  // namespace portico
