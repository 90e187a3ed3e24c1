#pragma once

#include <vector>

#include "absl/functional/any_invocable.h"
#include "base/executor.h"

namespace portico {

/// The rounds of an event loop: where a thread that handles events many at a time puts short work until it has read
/// all that is at hand. Requests that came together then run together, and their answers leave from the thread that
/// read them: no hand-off. What may run there is for Executor::TurnHere() and its caller to say.
///
/// Threads: its own alone, the one that made it. One at a time per thread.
class Turn {
 public:
  /// `ask` is called for the first task of a round, and has to see to it that Finish() is called on this thread, after
  /// what is at hand. Empty: the loop calls Finish() after each of its rounds.
  explicit Turn(absl::AnyInvocable<void()> ask = {});
  /// Tasks that are left are dropped (destroyed unrun).
  ~Turn();
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  /// Of this thread; null where it has none.
  static Turn* Current();

  void Add(Executor::Task task);
  /// Runs what was added, and what that adds.
  void Finish();

 private:
  absl::AnyInvocable<void()> ask_;
  std::vector<Executor::Task> tasks_;
};

}  // namespace portico
