#pragma once

#include "absl/time/time.h"
#include "base/executor.h"

namespace portico {

/// Runs tasks at set times, on a thread of its own or (a test's fake) when told to. Tasks must be short: they hand work
/// to an Executor. Thread-safe.
class Timer {
 public:
  virtual ~Timer() = default;

  /// Runs `task` once `at` has come; at once, but never inside the call, where it has passed.
  virtual void ScheduleAt(absl::Time at, Executor::Task task) = 0;

  /// The process's timer. Never destroyed; its thread starts with the first use.
  static Timer& Real();
};

}  // namespace portico
