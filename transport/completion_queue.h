#pragma once

#include <deque>
#include <utility>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "transport/transport.h"

namespace portico {

/// Calls that have failed, with what became of each: added where a lock is held, run where none is. Thread-safe.
class CompletionQueue {
 public:
  void Add(Channel::Done done, absl::Status status) {
    MutexLock lock(&mutex_);
    failed_.push_back({std::move(done), std::move(status)});
  }

  /// Runs all of them, oldest first. Holding no lock.
  void Run() {
    // One at a time: a completion may close the channel, which has to run the others before it returns.
    for (;;) {
      Failed next;
      {
        MutexLock lock(&mutex_);
        if (failed_.empty()) return;
        next = std::move(failed_.front());
        failed_.pop_front();
      }
      next.done(std::move(next.status));
    }
  }

 private:
  struct Failed {
    Channel::Done done;
    absl::Status status;
  };

  Mutex mutex_;
  std::deque<Failed> failed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
