#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "base/gate.h"
#include "base/request_context.h"
#include "router/replica_set.h"
#include "router/router.h"

namespace portico {

/// One call of a portal from pick to answer: Start → OnReply → Finish. A replica that could not answer is followed by
/// another (OnReply → Retry → Send) where the policy and the budget allow it. The one allocation that routing costs;
/// owned by the transport's callback while the call is out, gone once `done` has run.
///
/// Threads: one at a time: the caller's in Start, the transport's afterwards.
class RoutedCall {
 public:
  /// What the calls of one router share.
  struct Surroundings {
    const Clock& clock;
    /// Uniform draws, from any thread.
    std::function<uint64_t()> random;
    /// Open while calls may begin on a transport's thread: who ends the router closes and drains it first.
    Gate retries{};
  };

  /// `set` and `surroundings` are not owned and must outlive the call.
  RoutedCall(ReplicaSet& set, Surroundings& surroundings, Ref<const RequestContext> context, Router::Done done);
  /// A call that was dropped without an answer says so.
  ~RoutedCall();

  /// Picks a replica and sends. `target` must live until `done` runs.
  static void Start(std::unique_ptr<RoutedCall> self, const RouteTarget& target, absl::Span<const Tensor> tensors);

 private:
  /// What makes the call impossible before any replica is asked.
  absl::Status Admissible(const RouteTarget& target, size_t num_tensors) const;
  Deadline CallDeadline() const;
  PeerHeader MakeHeader(const RouteTarget& target, size_t num_tensors);
  /// To `replica`.
  static void Send(std::unique_ptr<RoutedCall> self, Replica* replica, absl::Span<const Tensor> tensors);
  /// Another replica for a call that ended with `status`; null where there is none or it must not be asked. Otherwise
  /// the gate of retries is entered.
  Replica* PickAnother(const absl::Status& status, absl::Time now);
  static void OnReply(std::unique_ptr<RoutedCall> self, absl::StatusOr<PeerMessage> reply);
  /// Counts, and hands over the result.
  static void Finish(std::unique_ptr<RoutedCall> self, absl::StatusOr<PeerMessage> result);
  void AddSpans(const PeerHeader& reply, const absl::Status& status, absl::Time now);

  ReplicaSet& set_;
  Surroundings& surroundings_;
  const Ref<const RequestContext> context_;
  Router::Done done_;
  const absl::Time start_;
  const RouteTarget* target_ = nullptr;
  /// For another try; empty where there will be none.
  absl::InlinedVector<Tensor, 4> kept_;
  /// In order; the last one has the call.
  absl::InlinedVector<Replica*, 3> tried_;
  absl::Time sent_;
  /// What became of the tries before: "; before, at URL: message" each.
  std::string earlier_;
  uint64_t span_id_ = 0;
};

}  // namespace portico
