#pragma once

#include <algorithm>

#include "absl/time/time.h"

namespace portico {

/// How long a crashed process waits before it is started again: 100 ms, then twice as long each time, at most 10 s,
/// from the beginning again after a run that was healthy for 10 s. For one thread.
class RestartDelay {
 public:
  static constexpr absl::Duration kFirst = absl::Milliseconds(100);
  static constexpr absl::Duration kMost = absl::Seconds(10);
  static constexpr absl::Duration kHealthy = absl::Seconds(10);

  /// After a crash; `healthy`: how long the process had been ready.
  absl::Duration Next(absl::Duration healthy) {
    if (healthy >= kHealthy) next_ = kFirst;
    const absl::Duration delay = next_;
    next_ = std::min(next_ * 2, kMost);
    return delay;
  }

 private:
  absl::Duration next_ = kFirst;
};

}  // namespace portico
