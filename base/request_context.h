#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "base/cancel_waiters.h"
#include "base/deadline.h"
#include "base/fallback_notes.h"
#include "base/ref.h"
#include "base/request_arm.h"
#include "base/row_notes.h"
#include "base/span.h"

namespace portico {

/// What travels with a request through every hop besides its tensors. Made once by a frontend, then shared: everything
/// but what is mutable is read-only from then on, so reads need no lock.
struct RequestContext final : public RefCounted {
  /// A call that has passed this many portals is refused: a cycle that slipped through.
  static constexpr int kMaxHops = 16;
  /// A longer trace_state is dropped at the door: half of one says nothing.
  static constexpr size_t kMaxTraceState = 512;
  /// A longer product is cut, or dropped where a peer says it.
  static constexpr size_t kMaxProduct = 256;

  Deadline deadline;
  /// Its parent_span_id is the span that work of the request hangs on here: that of the model, whose own parent is
  /// entry_span_id.
  TraceContext trace;
  /// What the request came in with: its root span, or the portal that called.
  uint64_t entry_span_id = 0;
  std::string tenant;
  /// Whose request it is where several products share a module: the model that was asked for where it entered the mesh.
  /// A request that comes without one gets it from Servables::Acquire(), before anybody reads it.
  mutable std::string product;
  /// Higher goes first where something has to wait. 0 is ordinary.
  int32_t priority = 0;
  /// The mesh revision the request was stamped with at its entry; 0 where there is none.
  uint64_t revision = 0;
  /// Where it entered: keeps that revision alive until the request is done.
  std::shared_ptr<const void> revision_hold;
  /// Hash of what the client says its request belongs to (`x-portico-key`: a user, a session); 0: nothing. Equal keys
  /// meet the same arm of a split, and the same replica where a policy balances by consistent_hash.
  uint64_t key = 0;
  /// Drawn where the request entered, for splits that go by no key: all hops have the same. 0 where no split is known.
  uint64_t draw = 0;
  /// A copy whose answer is compared and thrown away: no arm counts it, and it is not copied again.
  bool shadow = false;
  /// Which arm it was given here, by Servables::Acquire(); null nearly always.
  mutable Ref<const RequestArm> arm;
  mutable std::atomic<bool> arm_counted{false};
  /// Portals between the client and here.
  int32_t hop = 0;
  /// How often this call was tried before.
  int32_t attempt = 0;
  /// The client has gone: queued work of this request is dropped where it is.
  mutable std::atomic<bool> cancelled{false};
  /// Where work of it waits.
  mutable CancelWaiters cancel_waiters;
  /// Portals that were answered by a fallback: told to the caller.
  mutable FallbackNotes fallbacks;
  /// Rows that were answered by something else than a portal's target, or not at all: told to the caller.
  mutable RowNotes row_notes;
  /// W3C `tracestate`, passed on as it came; at most kMaxTraceState bytes.
  std::string trace_state;
  /// Of requests that are not sampled, spans at least this long are recorded: the request may turn out to be slow.
  absl::Duration span_floor = absl::InfiniteDuration();
  /// Of several runs for one request, one records the span that trace.parent_span_id names.
  mutable std::atomic<bool> model_span_taken{false};
  /// Filled where Records() says so.
  mutable SpanLog spans;

  /// Whether a piece of work that took so long is worth a span.
  bool Records(absl::Duration took) const { return trace.sampled || took >= span_floor; }
  /// Counts what became of the request with its arm, where it has one: once, by whoever knows first.
  void CountArm(const absl::Status& status, absl::Duration latency) const {
    if (arm && !arm_counted.exchange(true, std::memory_order_relaxed)) arm->Finished(status, latency);
  }
  /// Whether any might be.
  bool MayRecord() const { return trace.sampled || span_floor != absl::InfiniteDuration(); }

  /// Says that the client has gone, and takes work of this request back from where it waits. From any thread.
  void Cancel() const {
    cancelled.store(true, std::memory_order_seq_cst);
    cancel_waiters.NotifyAll();
  }
};

}  // namespace portico
