#pragma once

#include <memory>

#include "base/executor.h"

namespace portico {

/// Passes at most so many tasks at a time on to another executor; the rest wait here, first in, first out, and each
/// goes to the end of the other's queue when its turn has come. What one user of shared workers may hold of them.
///
/// Thread-safe. May go while tasks are under way; those that wait then are destroyed unrun.
class CappedExecutor final : public Executor {
 public:
  /// `limit`: at least 1. `inner` is not owned and must outlive the tasks.
  CappedExecutor(int limit, Executor& inner);
  ~CappedExecutor() override;

  void Schedule(Task task) override;
  void WakeAnother() override;

 private:
  class State;
  const std::shared_ptr<State> state_;
};

}  // namespace portico
