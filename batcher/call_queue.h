#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "batcher/waiting_call.h"

namespace portico {

/// Calls that go in the order of their tickets, unless one is taken from between: O(log calls), amortised. Not
/// thread-safe.
class CallQueue {
 public:
  bool empty() const { return calls_.empty(); }
  /// REQUIRES: not empty.
  const WaitingCall& front() const { return calls_.front(); }
  WaitingCall PopFront();
  /// Threads that draw tickets come in nearly that order: at the end, or close to it.
  void Push(WaitingCall call);
  /// The call of that ticket, if it is here.
  std::optional<WaitingCall> Take(uint64_t ticket);

 private:
  /// Whether it was taken from between, and its place is left.
  static bool IsGone(const WaitingCall& call) { return !call.context; }
  /// Frees places that calls have left: those at the front, and all where they have become more than the calls.
  void FreePlaces();

  /// The first one is not gone.
  std::deque<WaitingCall> calls_;
  /// Of them.
  size_t gone_ = 0;
};

}  // namespace portico
