#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "base/request_context.h"
#include "router/replica_set.h"
#include "router/router.h"

namespace portico {

/// One call of a portal from pick to answer: Start → OnReply → Finish. The one allocation that routing costs; owned by
/// the transport's callback while the call is out, gone once `done` has run.
///
/// Threads: one at a time: the caller's in Start, the transport's afterwards.
class RoutedCall {
 public:
  /// `set` and `clock` are not owned and must outlive the call.
  RoutedCall(ReplicaSet& set, const Clock& clock, Ref<const RequestContext> context, Router::Done done);
  /// A call that was dropped without an answer says so.
  ~RoutedCall();

  /// Picks a replica (`random`: a uniform draw) and sends. The target's strings need to live during this call only.
  static void Start(std::unique_ptr<RoutedCall> self, const RouteTarget& target, absl::Span<const Tensor> tensors,
                    uint64_t random);

 private:
  /// What makes the call impossible before any replica is asked.
  absl::Status Admissible(const RouteTarget& target, size_t num_tensors) const;
  Deadline CallDeadline() const;
  PeerHeader MakeHeader(const RouteTarget& target, size_t num_tensors);
  static void OnReply(std::unique_ptr<RoutedCall> self, absl::StatusOr<PeerMessage> reply);
  /// Counts, and hands over the result.
  static void Finish(std::unique_ptr<RoutedCall> self, absl::StatusOr<PeerMessage> result);
  void AddSpans(const PeerHeader& reply, const absl::Status& status, absl::Time now);

  ReplicaSet& set_;
  const Clock& clock_;
  const Ref<const RequestContext> context_;
  Router::Done done_;
  const absl::Time start_;
  Replica* replica_ = nullptr;
  uint64_t span_id_ = 0;
};

}  // namespace portico
