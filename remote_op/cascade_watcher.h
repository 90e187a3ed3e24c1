#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/executor.h"
#include "base/request_context.h"
#include "models/graph/graph_plan.h"
#include "remote_op/brown_out.h"
#include "remote_op/cascade_watch_metrics.h"
#include "remote_op/drift_watch.h"
#include "remote_op/reply_check.h"
#include "remote_op/share_window.h"
#include "router/router.h"

namespace portico {

/// Watches one `Cascade` while it serves (CascadeWatch): asks the full model of a share of the rows that keep the cheap
/// answer, counts how often the two agree, says when that or the share of rows that escalate is no longer what was
/// expected, and keeps rows back from a full model that has too much to do.
///
/// The cascade has one where something was declared, and tells it of each request:
///
///   request = watcher->Begin(context, num_rows, need, &rows);   rows that are kept back are taken out of `rows`
///   request->Keep(cheap, inputs);
///   request->CallEnded(status);                                 of the full model, where rows are left
///   done(answer);
///   request->Answered(full, rows);
///
/// Threads: any; nothing waits. Audits are gathered, sent and compared in the background, never more than
/// `audit_max_in_flight` at once. Steps of a brown-out run on the router's timer.
///
/// Owned by the cascade, by requests and by audits under way; these end with the router at the latest. Of the router
/// nothing is used once an answer has gone: whoever waited for it may end it.
class CascadeWatcher final : public std::enable_shared_from_this<CascadeWatcher> {
 public:
  class Request;
  /// Rows of one request that are audited: more are dropped.
  static constexpr size_t kMaxAuditRows = 256;
  /// Rows of one request that escalated and are compared.
  static constexpr size_t kMaxComparedRows = 256;
  /// How long a full model that has refused an audit gets no other one.
  static constexpr absl::Duration kBusyFor = absl::Seconds(1);
  /// How often drift is looked for.
  static constexpr absl::Duration kJudgeEvery = absl::Seconds(1);

  /// `spec`: of the cascade, with the outputs of the full model. `router` is not owned; its metrics and clock must
  /// outlive this, and tasks of `background` must not.
  CascadeWatcher(const PortalSpec& spec, Router& router, std::shared_ptr<Executor> background);

  /// `rows`: of the request's `num_rows` those that escalate, ascending; with a brown-out some are taken out, and the
  /// request told. `need`: float[num_rows] where there may be one.
  std::unique_ptr<Request> Begin(const Ref<const RequestContext>& context, int64_t num_rows, const Tensor& need,
                                 std::vector<int64_t>* rows);

 private:
  struct Audit;

  std::vector<int64_t> DrawAudit(int64_t num_rows, absl::Span<const int64_t> escalated);
  void Shed(const RequestContext& context, const Tensor& need, std::vector<int64_t>* rows);
  void CountCall(bool overloaded);
  void ScheduleStep();
  void Step();
  void Send(std::unique_ptr<Audit> audit);
  void Start(std::unique_ptr<Audit> audit);
  void OnReply(std::unique_ptr<Audit> audit, absl::StatusOr<PeerMessage> reply);
  absl::StatusOr<std::vector<Tensor>> TakeAnswer(const Audit& audit, absl::StatusOr<PeerMessage> reply) const;
  /// Which of `rows` disagree with the full model's, where `outputs` are to count them.
  int64_t CountDisagreeing(absl::Span<const Tensor> full, absl::Span<const Tensor> cheap,
                           absl::Span<const int64_t> rows, absl::Span<Counter* const> outputs) const;
  void Judge(absl::Time now);

  Router& router_;
  const Clock& clock_;
  const std::shared_ptr<Executor> background_;
  const CascadeWatch watch_;
  const std::string context_;
  const RouteTarget target_;
  /// Inputs of the full model that travel whole.
  const std::vector<bool> shared_;
  /// Answers that are compared.
  const std::vector<size_t> compared_;
  const ReplyCheck check_;
  CascadeWatchMetrics metrics_;

  std::atomic<uint64_t> draws_{0};
  std::atomic<int64_t> in_flight_{0};
  std::atomic<int64_t> busy_until_us_{0};
  /// Rows, and those that wanted the full model; rows, and those that it was asked about; rows that were audited, and
  /// those that agreed.
  ShareWindow escalated_;
  ShareWindow sent_;
  ShareWindow agreed_;
  std::optional<DriftWatch> escalated_drift_;
  std::optional<DriftWatch> agreement_drift_;
  std::atomic<int64_t> judge_at_us_{0};
  std::optional<BrownOut> brown_out_;
};

/// One request, as the watcher sees it. Owned by the completion.
class CascadeWatcher::Request {
 public:
  Request(std::shared_ptr<CascadeWatcher> watcher, Ref<const RequestContext> context)
      : watcher_(std::move(watcher)), context_(std::move(context)) {}
  /// Of a request that has failed nothing is known.
  ~Request();

  /// Rows of which the full model is asked in the shadow, unless they are dropped.
  size_t audited() const { return audit_rows_.size(); }
  /// What may be needed once the answer has gone: `inputs` are the full model's. Shared, not copied.
  void Keep(absl::Span<const Tensor> cheap, absl::Span<const Tensor> inputs);
  /// The call of the full model came back.
  void CallEnded(const absl::Status& status);
  /// The answer has gone out. `full`: what the full model itself said of `rows`; empty where it did not.
  void Answered(const std::vector<Tensor>& full, const std::vector<int64_t>& rows);

 private:
  friend class CascadeWatcher;

  const std::shared_ptr<CascadeWatcher> watcher_;
  const Ref<const RequestContext> context_;
  int64_t num_rows_ = 0;
  /// Rows that wanted the full model, and those that it is asked about.
  int64_t wanted_ = 0;
  int64_t sent_ = 0;
  absl::Time begun_;
  std::vector<int64_t> audit_rows_;
  std::vector<Tensor> cheap_;
  std::vector<Tensor> inputs_;
};

}  // namespace portico
