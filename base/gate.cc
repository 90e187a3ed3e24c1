#include "base/gate.h"

#include "absl/time/clock.h"

namespace portico {

bool Gate::Enter() {
  MutexLock lock(&mutex_);
  if (closed_) return false;
  ++inside_;
  return true;
}

void Gate::Leave() {
  MutexLock lock(&mutex_);
  // Notified under the lock: whoever drains may destroy the gate as soon as it sees zero.
  if (--inside_ == 0) empty_.NotifyAll();
}

void Gate::Close() {
  MutexLock lock(&mutex_);
  closed_ = true;
}

bool Gate::Drain(absl::Duration timeout) {
  const absl::Time until = absl::Now() + timeout;
  MutexLock lock(&mutex_);
  while (inside_ > 0) {
    const absl::Duration left = until - absl::Now();
    if (left <= absl::ZeroDuration()) return false;
    empty_.WaitFor(&mutex_, left);
  }
  return true;
}

int64_t Gate::inside() const {
  MutexLock lock(&mutex_);
  return inside_;
}

}  // namespace portico
