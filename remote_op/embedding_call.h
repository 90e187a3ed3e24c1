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
#include "remote_op/kept_rows.h"
#include "remote_op/live_fallback.h"
#include "remote_op/lookup_plan.h"
#include "remote_op/reply_check.h"
#include "remote_op/shard_answer.h"
#include "remote_op/shard_routes.h"
#include "remote_op/shard_stand_in.h"
#include "remote_op/table_fallback.h"
#include "router/live_tables.h"
#include "router/router.h"

namespace portico {

/// What the requests at one `EmbeddingBag` share. Thread-safe.
struct EmbeddingPlace final : public RefCounted {
  EmbeddingPlace(const PortalSpec& portal, Router& router);

  /// As of now, what is known of the row type of each lookup's table: rows or sums are chosen by it.
  std::vector<RowType> RowTypes() const;
  void Learn(size_t lookup, RowType type);
  /// What each lookup of the next request, to that group, is to make of kept rows: nothing where they expire.
  std::vector<KeptUse> KeptUses(const LiveTables::Group& group);
  /// Whether rows of the lookup that a shard's version gave may be kept; origin 0: nobody knows which version.
  void LearnExpiry(size_t lookup, bool lasts, uint64_t origin);

  Router& router;
  /// "portal 'bags' to tables 'clicks'".
  const std::string context;
  const EmbeddingSpec spec;
  GroupRoutes routes;
  const ReplyCheck check;
  EmbeddingMetrics metrics;
  /// By lookup, as all that follow.
  std::vector<KeptTurns> kept_turns;
  /// Of a shard whose rows expire, and may not be kept; 0: none is known.
  std::vector<std::atomic<uint64_t>> expiring_origins;
  /// LiveTables::NumberOf() the lookup's table.
  const std::vector<uint32_t> table_numbers;
  /// LiveTables::RowTypeOf() the same: what one portal learns, all know.
  const std::vector<std::atomic<RowType>*> row_types;
  /// Here, so that what a call falls back on lasts as long as the call. The portal begins it.
  LiveFallback fallback;
};

/// One request at an `EmbeddingBag`, from its ids to pooled rows:
///
///   Start (plan) → a call of each shard that has something of it, all at once → OnReply → Finish → Merge (add up,
///   keep)
///
/// Where the group has a cache, rows of it are left out of the calls, and rows that come are put there once the answer
/// is out: if, and only if, the request's revision is known here and pins the versions of all shards.
///
/// Shared by its calls: one allocation for each of them beside what routing takes. `done` runs once, under no lock, on
/// the thread that adds the answers up, that of the last answer or a worker (AddUp()), where what stands for rows is
/// made, too; or as soon as a shard has failed for good and nothing may stand for its rows: then the other calls are
/// taken back. All calls go by the map of the request's own revision, and by the versions that it pins.
///
/// Threads: that of Start, the transports' in OnReply, then one in Merge. They meet under `mutex_`.
class EmbeddingCall final : public RefCounted {
 public:
  EmbeddingCall(Ref<EmbeddingPlace> place, Ref<const RequestContext> context, OpDone done);

  /// `found`: of the request's revision, with a group.
  void Start(const ShardRoutes& routes, LiveTables::Found found, absl::Span<const Tensor> inputs);

 private:
  /// The call of one share.
  struct Call {
    /// Takes it back; null where it has been answered or is on its way out.
    Ref<CancelHook> hook;
    bool out = true;
    std::optional<ShardAnswer> answer;
    /// Why there is none, and what stands for it.
    absl::Status why;
    std::optional<ShardStandIn> stand_in;
  };

  /// What came of looking for kept rows.
  void NoteKept(absl::Span<const KeptUse> uses) const;
  void Send(const ShardRoutes& routes, size_t share);
  void OnReply(size_t share, const RouteTarget& target, absl::StatusOr<PeerMessage> reply);
  absl::StatusOr<ShardAnswer> Take(size_t share, const RouteTarget& target, absl::StatusOr<PeerMessage> reply) const;
  /// OK where something may stand for the rows of a shard that failed so.
  absl::Status MayStandIn(size_t share, const absl::Status& why);
  /// What does, or why nothing does.
  absl::StatusOr<ShardStandIn> StandInFor(size_t share, const absl::Status& why, absl::Time now) const;
  void EndWith(const absl::Status& status);
  /// All calls have ended, and nobody else has them any more.
  void Finish();
  /// Adds them up, maybe on a worker. `now`: when they had ended. `keepers`: keep rows where those are many; null: this
  /// thread.
  void Merge(const absl::Status& status, std::vector<Call> calls, absl::Time now, Executor* keepers);
  /// Makes what stands in for shards that failed, and tells it.
  absl::Status StandIn(absl::Span<Call> calls, absl::Time now) const;
  /// Puts the rows that came into the cache.
  void Keep(absl::Span<const Call> calls, absl::Time now) const;
  /// Tells which rows something else stands in.
  void Note(size_t share, const Call& call) const;

  const Ref<EmbeddingPlace> place_;
  /// Of the place; null: who fails fails.
  const TableFallback* const fallback_;
  const Ref<const RequestContext> context_;
  OpDone done_;
  const ShardRoutes* routes_ = nullptr;
  std::shared_ptr<const LiveTables::Group> group_;
  /// Of the group; null: no rows are kept, or not for this request.
  RowCache* cache_ = nullptr;
  LookupPlan plan_;
  /// Of what stands in for shards.
  std::atomic<uint64_t> stand_in_bytes_{0};

  Mutex mutex_;
  /// By share.
  std::vector<Call> calls_ ABSL_GUARDED_BY(mutex_);
  size_t out_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace portico
