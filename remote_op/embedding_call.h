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
  void Learn(size_t lookup, RowType type) { row_types[lookup].store(type, std::memory_order_relaxed); }
  /// What each lookup of the next request is to make of kept rows.
  std::vector<KeptUse> KeptUses();

  Router& router;
  /// "portal 'bags' to tables 'clicks'".
  const std::string context;
  const EmbeddingSpec spec;
  GroupRoutes routes;
  const ReplyCheck check;
  EmbeddingMetrics metrics;
  /// By lookup.
  std::vector<std::atomic<RowType>> row_types;
  std::vector<KeptTurns> kept_turns;
  /// LiveTables::NumberOf() the lookup's table.
  const std::vector<uint32_t> table_numbers;
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
/// the thread that adds the answers up, that of the last answer or a worker (AddUp()); or as soon as a shard has failed
/// for good and nothing may stand for its rows: then the other calls are taken back. All calls go by the map of the
/// request's own revision, and by the versions that it pins.
///
/// Threads: that of Start, the transports' in OnReply, then one in Merge. They meet under `mutex_`.
class EmbeddingCall final : public RefCounted {
 public:
  /// `fallback`: null: who fails fails. Must outlive the call.
  EmbeddingCall(Ref<EmbeddingPlace> place, const TableFallback* fallback, Ref<const RequestContext> context,
                OpDone done);

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
  /// What stands for the rows of a shard that failed so, or why nothing does.
  absl::StatusOr<ShardStandIn> StandInFor(size_t share, const absl::Status& why) const;
  void EndWith(const absl::Status& status);
  /// All calls have ended, and nobody else has them any more.
  void Finish();
  /// Adds them up, maybe on a worker, when the router may have gone. `now`: seconds, when they had ended.
  void Merge(const absl::Status& status, absl::Span<const Call> calls, uint32_t now);
  /// Puts the rows that came into the cache.
  void Keep(absl::Span<const Call> calls, uint32_t now) const;
  /// Tells which rows something else stands in.
  void Note(size_t share, const Call& call) const;

  const Ref<EmbeddingPlace> place_;
  const TableFallback* const fallback_;
  const Ref<const RequestContext> context_;
  OpDone done_;
  const ShardRoutes* routes_ = nullptr;
  std::shared_ptr<const LiveTables::Group> group_;
  /// Of the group; null: no rows are kept, or not for this request.
  RowCache* cache_ = nullptr;
  LookupPlan plan_;

  Mutex mutex_;
  /// By share.
  std::vector<Call> calls_ ABSL_GUARDED_BY(mutex_);
  size_t out_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace portico
