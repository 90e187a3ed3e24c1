#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/ref.h"
#include "base/timer.h"
#include "result_cache/parked_call.h"

namespace portico {

/// Tells calls that wait when their deadline passes, on a worker. One timer is set for all of them, for the soonest, so
/// that calls which end long before leave nothing behind. Thread-safe. What is set when it goes is not told.
class WaitDeadlines {
 public:
  /// Names a deadline that was set.
  using Ticket = std::pair<absl::Time, uint64_t>;

  /// Not owned. `timer` outlives what it has scheduled; the others need not: neither is touched once this is gone.
  WaitDeadlines(Timer& timer, Executor& workers, const Clock& clock);
  ~WaitDeadlines();

  Ticket Add(absl::Time deadline, Ref<ParkedCall> call);
  /// Does nothing where it was told already.
  void Remove(const Ticket& ticket);
  /// Calls that are to be told.
  size_t size() const;

 private:
  class State;
  const std::shared_ptr<State> state_;
};

}  // namespace portico
