#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "base/ref.h"
#include "base/request_context.h"
#include "base/tensor.h"
#include "models/graph/op.h"
#include "remote_op/embedding_metrics.h"
#include "remote_op/live_fallback.h"
#include "remote_op/lookup_plan.h"
#include "remote_op/reply_check.h"
#include "remote_op/shard_answer.h"
#include "remote_op/shard_routes.h"
#include "remote_op/table_defaults.h"
#include "router/router.h"

namespace portico {

/// What the requests at one `EmbeddingBag` share. Thread-safe.
struct EmbeddingPlace final : public RefCounted {
  EmbeddingPlace(const PortalSpec& portal, Router& router);

  /// As of now, what is known of the row type of each lookup's table: rows or sums are chosen by it.
  std::vector<RowType> RowTypes() const;
  void Learn(size_t lookup, RowType type) { row_types[lookup].store(type, std::memory_order_relaxed); }

  Router& router;
  /// "portal 'bags' to tables 'clicks'".
  const std::string context;
  const EmbeddingSpec spec;
  GroupRoutes routes;
  const ReplyCheck check;
  EmbeddingMetrics metrics;
  /// By lookup.
  std::vector<std::atomic<RowType>> row_types;
};

/// One request at an `EmbeddingBag`, from its ids to pooled rows:
///
///   Start (plan) → a call of each shard that has something of it, all at once → OnReply → Finish (merge)
///
/// Shared by its calls: one allocation for each of them beside what routing takes. `done` runs once, under no lock, on
/// the thread that brought the last answer, which also adds the answers up; or as soon as a shard has failed for good
/// and nothing may stand for its rows: then the other calls are taken back. All calls go by the map of the request's
/// own revision, and by the versions that it pins.
///
/// Threads: that of Start, the transports' in OnReply. They meet under `mutex_`.
class EmbeddingCall final : public RefCounted {
 public:
  /// `defaults`: null: who fails fails. Must outlive the call.
  EmbeddingCall(Ref<EmbeddingPlace> place, const TableDefaults* defaults, Ref<const RequestContext> context,
                OpDone done);

  void Start(const ShardRoutes& routes, absl::Span<const Tensor> inputs);

 private:
  /// The call of one share.
  struct Call {
    /// Takes it back; null where it has been answered or is on its way out.
    Ref<CancelHook> hook;
    bool out = true;
    std::optional<ShardAnswer> answer;
    /// Why there is none.
    absl::Status why;
  };

  void Send(const ShardRoutes& routes, size_t share);
  void OnReply(size_t share, const RouteTarget& target, absl::StatusOr<PeerMessage> reply);
  absl::StatusOr<ShardAnswer> Take(size_t share, const RouteTarget& target, absl::StatusOr<PeerMessage> reply) const;
  /// Whether something may stand for the rows of a shard that failed so.
  bool MayStandIn(const absl::Status& why) const;
  void EndWith(const absl::Status& status);
  /// All calls have ended, and nobody else has them any more.
  void Finish();
  /// Tells which rows something else stands in.
  void Note(size_t share, const absl::Status& why) const;

  const Ref<EmbeddingPlace> place_;
  const TableDefaults* const defaults_;
  const Ref<const RequestContext> context_;
  OpDone done_;
  const ShardRoutes* routes_ = nullptr;
  LookupPlan plan_;

  Mutex mutex_;
  /// By share.
  std::vector<Call> calls_ ABSL_GUARDED_BY(mutex_);
  size_t out_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace portico
