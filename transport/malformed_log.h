#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mutex.h"

namespace portico {

/// Says in the log what peers of a listener broke, at most once a second, however many they are. Thread-safe.
class MalformedLog {
 public:
  MalformedLog(const std::string& endpoint, const Clock& clock) : endpoint_(endpoint), clock_(clock) {}

  /// `what` was done about it, and why.
  void Add(absl::string_view what, absl::string_view why) {
    uint64_t count = 0;
    {
      MutexLock lock(&mutex_);
      count = ++count_;
      const absl::Time now = clock_.Now();
      if (now < next_) return;
      next_ = now + absl::Seconds(1);
    }
    LogWarning(absl::StrCat("listener '", endpoint_, "': ", what, " (", count, " so far): ", why));
  }

 private:
  const std::string endpoint_;
  const Clock& clock_;
  Mutex mutex_;
  uint64_t count_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time next_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

}  // namespace portico
