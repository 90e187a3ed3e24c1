#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/cancel_waiters.h"
#include "base/deadline.h"
#include "base/ref.h"
#include "base/span.h"

namespace portico {

/// What travels with a request through every hop besides its tensors. Made once by a frontend, then shared: everything
/// but `cancelled`, `cancel_waiters` and `spans` is read-only from then on, so reads need no lock.
struct RequestContext final : public RefCounted {
  /// A call that has passed this many portals is refused: a cycle that slipped through.
  static constexpr int kMaxHops = 16;

  Deadline deadline;
  TraceContext trace;
  std::string tenant;
  std::string product;
  /// Higher goes first where something has to wait. 0 is ordinary.
  int32_t priority = 0;
  /// The mesh revision the request was stamped with at its entry; 0 where there is none.
  uint64_t revision = 0;
  /// Portals between the client and here.
  int32_t hop = 0;
  /// How often this call was tried before.
  int32_t attempt = 0;
  /// The client has gone: queued work of this request is dropped where it is.
  mutable std::atomic<bool> cancelled{false};
  /// Where work of it waits.
  mutable CancelWaiters cancel_waiters;
  /// Filled only where trace.sampled.
  mutable SpanLog spans;

  /// Says that the client has gone, and takes work of this request back from where it waits. From any thread.
  void Cancel() const {
    cancelled.store(true, std::memory_order_seq_cst);
    cancel_waiters.NotifyAll();
  }
};

}  // namespace portico
