#pragma once

#include <functional>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "base/gate.h"
#include "base/mutex.h"
#include "base/request_context.h"
#include "base/timer.h"
#include "router/hedge_queue.h"
#include "router/replica_set.h"
#include "router/router.h"

namespace portico {

/// One call of a portal from pick to answer, as one or several tries at a replica each:
///
///   Start → Transmit → OnReply → Finish
///             ↑  OnHedgeDue: a second try while the first one is out; the first good answer wins, the other is
///             cancelled ↑  OnReply: a try after one that could not be answered, when none is out any more
///
/// The one allocation that routing costs; shared by its tries, the queue of hedges and the request's hooks; `done` runs
/// once, under no lock.
///
/// Threads: the caller's in Start, the transports' in OnReply, that of hedges, and whoever cancels the request. They
/// meet under `mutex_`, which is held for moments; nothing that could call back is called under it. A call that is not
/// finished keeps its router alive (whose end waits for all answers), and with it the replica set and the surroundings.
class RoutedCall final : public CancelHook, public HedgeQueue::Entry {
 public:
  /// What the calls of one router share.
  struct Surroundings {
    const Clock& clock;
    /// Uniform draws, from any thread.
    std::function<uint64_t()> random;
    /// When to hedge.
    Timer* timer = nullptr;
    /// Open while channels may be used on threads that are in no call of the router's owner: who ends the router closes
    /// and drains it first.
    Gate channels{};
  };

  /// `set` and `surroundings` are not owned and must outlive the call.
  RoutedCall(ReplicaSet& set, Surroundings& surroundings, Ref<const RequestContext> context, Router::Done done);

  /// Picks a replica and sends. `target` must live until `done` runs.
  void Start(const RouteTarget& target, absl::Span<const Tensor> tensors);

  /// The client has gone, or the caller has no use for this call any more: takes back what is out.
  void OnCancel() override;
  /// The first try has taken long.
  void OnHedgeDue() override;

 private:
  class TryDone;
  /// One replica that was asked.
  struct Try {
    Ref<Replica> replica;
    absl::Time sent;
    /// Of its position in tries_.
    size_t index = 0;
    bool hedge = false;
    uint64_t span_id = 0;
    /// Without an answer yet.
    bool out = true;
    /// The channel's name for it, known when Channel::Call() has returned.
    bool has_id = false;
    uint64_t call_id = 0;
  };
  using Tries = absl::InlinedVector<Try, 2>;
  using Tensors = absl::InlinedVector<Tensor, 4>;

  /// What makes the call impossible before any replica is asked. Enters the window.
  absl::Status Admit(const RouteTarget& target, size_t num_tensors);
  Deadline CallDeadline() const;
  PeerHeader MakeHeader(const RouteTarget& target, size_t num_tensors, const Try& one) const;
  /// Enters a try into the list.
  Try Begin(Ref<Replica> replica, bool hedge) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// Puts `one` on its way.
  void Transmit(const Try& one, const RouteTarget& target, absl::Span<const Tensor> tensors);
  void OnReply(size_t index, absl::StatusOr<PeerMessage> reply);
  Tries Out() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteFailure(const Try& one, const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// A replica that has not been asked; null where there is none.
  Ref<Replica> PickUntried(absl::Time now);
  /// Asks another replica where that is allowed and possible. REQUIRES: no try is out. False where nothing was sent.
  bool Retry(const Try& failed, const absl::Status& status, absl::Time now);
  /// Cancels those that nobody waits for any more. `outrun`: since another one was faster.
  void TakeBack(const Tries& losers, bool outrun, absl::Time now);
  /// REQUIRES: the gate of channels was entered.
  static void CancelTries(const Tries& tries);
  /// An error for the caller, with what became of all tries.
  absl::Status Explain(const Try& last, const absl::Status& status);
  /// Counts, lets go of everything and hands over the result.
  void Finish(absl::StatusOr<PeerMessage> result);
  void AddSpans(const Try& one, const PeerHeader& reply, const absl::Status& status, absl::Time now);

  ReplicaSet& set_;
  /// As it was when the call began.
  const RoutePolicy& policy_;
  Surroundings& surroundings_;
  const Ref<const RequestContext> context_;
  Router::Done done_;
  const absl::Time start_;
  const RouteTarget* target_ = nullptr;
  bool in_window_ = false;
  bool in_queue_ = false;
  /// Its tensors are kept, so that another replica may be asked.
  bool repeatable_ = false;
  /// Draw::key.
  uint64_t key_ = 0;
  /// Of tries that are no hedges; touched only while no try is out.
  int retries_ = 0;

  Mutex mutex_;
  /// In the order of sending.
  Tries tries_ ABSL_GUARDED_BY(mutex_);
  int out_ ABSL_GUARDED_BY(mutex_) = 0;
  /// The result is known: what still comes in is ignored.
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  /// For another try; empty where there will be none.
  Tensors kept_ ABSL_GUARDED_BY(mutex_);
  /// What became of the tries before: "; before, at URL: message" each.
  std::string earlier_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
