#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "base/mutex.h"

namespace portico {

/// Counts work in flight and lets a shutdown wait for it: Close() refuses what comes later, Drain() waits until all
/// that entered has left. Thread-safe.
///
///   if (!gate.Enter()) return absl::UnavailableError("shutting down");
///   ... the work's completion calls gate.Leave();
class Gate {
 public:
  /// False once closed; otherwise one Leave() is owed.
  bool Enter();
  void Leave();
  /// From now on Enter() refuses. Idempotent.
  void Close();
  /// Blocks until nothing is inside. False when `timeout` passed first.
  bool Drain(absl::Duration timeout);
  int64_t inside() const;

 private:
  mutable Mutex mutex_;
  CondVar empty_;
  int64_t inside_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace portico
