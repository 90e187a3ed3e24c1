#include "remote_op/cascade_watcher.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/answer_comparison.h"
#include "base/log.h"
#include "base/rows.h"
#include "base/shadow_context.h"
#include "base/status_macros.h"
#include "remote_op/route_target.h"

namespace portico {
namespace {

using Rows = std::vector<int64_t>;

/// Positions of the answers that are compared.
std::vector<size_t> ComparedOutputs(const PortalSpec& spec) {
  const std::vector<std::string>& names = spec.cascade->watch.agreement_outputs;
  std::vector<size_t> outputs;
  for (size_t i = 0; i < spec.outputs.size(); ++i) {
    if (names.empty() || absl::c_linear_search(names, spec.outputs[i].name)) outputs.push_back(i);
  }
  return outputs;
}

CascadeWatchMetrics::What Declared(const PortalSpec& spec) {
  const CascadeWatch& watch = spec.cascade->watch;
  CascadeWatchMetrics::What what{.audits = watch.audit > 0,
                                 .expects_escalated = watch.expected_escalated >= 0,
                                 .expects_agreement = watch.expected_agreement >= 0,
                                 .browns_out = watch.browns_out(),
                                 .outputs = {}};
  for (const size_t i : ComparedOutputs(spec)) what.outputs.push_back(spec.outputs[i].name);
  return what;
}

/// The mixing of SplitMix64: evenly spread bits of a number that only counts.
uint64_t Mixed(uint64_t number) {
  number += 0x9e3779b97f4a7c15;
  number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
  number = (number ^ number >> 27) * 0x94d049bb133111eb;
  return number ^ number >> 31;
}

}  // namespace

/// Rows of one request that kept the cheap answer, from when there was room for them until they are compared.
struct CascadeWatcher::Audit {
  std::shared_ptr<CascadeWatcher> watcher;
  Ref<const RequestContext> context;
  Rows rows;
  std::vector<Tensor> cheap;
  std::vector<Tensor> inputs;

  ~Audit() { watcher->in_flight_.fetch_sub(1, std::memory_order_release); }
};

CascadeWatcher::CascadeWatcher(const PortalSpec& spec, Router& router, std::shared_ptr<Executor> background)
    : router_(router),
      clock_(router.clock()),
      background_(std::move(background)),
      watch_(spec.cascade->watch),
      context_(absl::StrCat("portal '", spec.node_name, "' to '", spec.target, "'")),
      target_(RouteTargetOf(spec)),
      shared_(spec.cascade->shared),
      compared_(ComparedOutputs(spec)),
      check_(spec.target, spec.outputs, spec.digest.empty()),
      metrics_(router.metrics(), spec.node_name, spec.target, Declared(spec)),
      escalated_(watch_.expected_over),
      sent_(watch_.expected_over),
      agreed_(watch_.expected_over) {
  const auto drift = [this](absl::string_view what, double expected, double within, bool only_less) {
    return DriftWatch::Options{absl::StrCat(context_, ": ", what),
                               expected,
                               within,
                               only_less,
                               watch_.expected_over,
                               "what comes in is not what the cascade was tuned to: run 'portico cascade tune' again"};
  };
  if (watch_.expected_escalated >= 0) {
    escalated_drift_.emplace(drift("rows that escalate", watch_.expected_escalated, watch_.EscalatedWithin(), false));
  }
  if (watch_.expected_agreement >= 0) {
    agreement_drift_.emplace(
        drift("audited rows that agree", watch_.expected_agreement, watch_.expected_agreement_within, true));
  }
  if (watch_.browns_out()) brown_out_.emplace(watch_.max_shed);
}

// A request.

std::unique_ptr<CascadeWatcher::Request> CascadeWatcher::Begin(const Ref<const RequestContext>& context,
                                                               int64_t num_rows, const Tensor& need, Rows* rows) {
  auto request = std::make_unique<Request>(shared_from_this(), context);
  request->num_rows_ = num_rows;
  request->wanted_ = static_cast<int64_t>(rows->size());
  if (watch_.audit > 0 && !context->shadow) request->audit_rows_ = DrawAudit(num_rows, *rows);
  if (brown_out_.has_value()) {
    request->begun_ = clock_.Now();
    if (brown_out_->active() && !rows->empty()) Shed(*context, need, rows);
  }
  request->sent_ = static_cast<int64_t>(rows->size() + request->audit_rows_.size());
  return request;
}

Rows CascadeWatcher::DrawAudit(int64_t num_rows, absl::Span<const int64_t> escalated) {
  // Each row that is kept is drawn by itself: from one that is to the next there are as many as a geometric
  // distribution has it.
  uint64_t seed = Mixed(draws_.fetch_add(1, std::memory_order_relaxed));
  const double scale = std::log1p(-watch_.audit);
  const auto skip = [&] {
    seed = Mixed(seed);
    const double uniform = (static_cast<double>(seed >> 11) + 1) * 0x1p-53;
    return watch_.audit >= 1 ? 0 : std::min(std::log(uniform) / scale, 1e15);
  };
  Rows drawn;
  const auto kept = num_rows - static_cast<int64_t>(escalated.size());
  size_t passed = 0, beyond = 0;
  for (auto at = static_cast<int64_t>(skip()); at < kept; at += 1 + static_cast<int64_t>(skip())) {
    // The row that is the at-th of those that don't escalate.
    while (passed < escalated.size() && escalated[passed] <= at + static_cast<int64_t>(passed)) ++passed;
    if (drawn.size() == kMaxAuditRows) {
      ++beyond;
    } else {
      drawn.push_back(at + static_cast<int64_t>(passed));
    }
  }
  if (beyond > 0) metrics_.Dropped(beyond, "bound");
  if (drawn.empty()) return drawn;
  const bool browned_out = brown_out_.has_value() && brown_out_->active();
  if (browned_out || absl::ToUnixMicros(clock_.Now()) < busy_until_us_.load(std::memory_order_relaxed)) {
    metrics_.Dropped(drawn.size(), "busy");
    drawn.clear();
  }
  return drawn;
}

void CascadeWatcher::Shed(const RequestContext& context, const Tensor& need, Rows* rows) {
  const Rows kept = brown_out_->Take(need, rows);
  if (kept.empty()) return;
  metrics_.shed()->Add(static_cast<double>(kept.size()));
  context.row_notes.Add(target_.servable.name, "brown_out",
                        absl::ResourceExhaustedError(absl::StrCat(
                            context_, ": the full model has too much to do, and these rows need it least")),
                        kept);
}

CascadeWatcher::Request::~Request() {
  if (!audit_rows_.empty()) watcher_->metrics_.Dropped(audit_rows_.size(), "failed");
}

void CascadeWatcher::Request::Keep(absl::Span<const Tensor> cheap, absl::Span<const Tensor> inputs) {
  if (watcher_->watch_.audit <= 0 || (wanted_ == 0 && audit_rows_.empty())) return;
  cheap_.assign(cheap.begin(), cheap.end());
  if (!audit_rows_.empty()) inputs_.assign(inputs.begin(), inputs.end());
}

void CascadeWatcher::Request::CallEnded(const absl::Status& status) {
  CascadeWatcher& watcher = *watcher_;
  // Who has gone says nothing of the full model.
  if (!watcher.brown_out_.has_value() || context_->cancelled.load(std::memory_order_relaxed)) return;
  const absl::Duration took = watcher.clock_.Now() - begun_;
  watcher.CountCall(absl::IsResourceExhausted(status) || absl::IsDeadlineExceeded(status) ||
                    (watcher.watch_.slower_than > absl::ZeroDuration() && took > watcher.watch_.slower_than));
}

void CascadeWatcher::Request::Answered(const std::vector<Tensor>& full, const Rows& rows) {
  CascadeWatcher& watcher = *watcher_;
  const absl::Time now = watcher.clock_.Now();
  watcher.escalated_.Add(now, num_rows_, wanted_);
  watcher.sent_.Add(now, num_rows_, sent_);
  if (watcher.watch_.audit > 0 && !full.empty()) {
    const auto some = absl::MakeConstSpan(rows).first(std::min(rows.size(), kMaxComparedRows));
    watcher.metrics_.compared()->Add(static_cast<double>(some.size()));
    const int64_t changed = watcher.CountDisagreeing(full, cheap_, some, {});
    if (changed > 0) watcher.metrics_.changed()->Add(static_cast<double>(changed));
  }
  if (!audit_rows_.empty()) {
    // Room for it is given back with it.
    const bool room = watcher.in_flight_.fetch_add(1, std::memory_order_acquire) < watcher.watch_.audit_max_in_flight;
    const size_t num_rows = audit_rows_.size();
    std::unique_ptr<Audit> audit(
        new Audit{watcher_, context_, std::exchange(audit_rows_, {}), std::move(cheap_), std::move(inputs_)});
    if (room) {
      watcher.Send(std::move(audit));
    } else {
      watcher.metrics_.Dropped(num_rows, "bound");
    }
  }
  watcher.Judge(now);
}

// Audits.

void CascadeWatcher::Send(std::unique_ptr<Audit> audit) {
  background_->Schedule([audit = std::move(audit)]() mutable {
    CascadeWatcher& watcher = *audit->watcher;
    watcher.Start(std::move(audit));
  });
}

void CascadeWatcher::Start(std::unique_ptr<Audit> audit) {
  std::vector<Tensor> sent;
  for (size_t i = 0; i < audit->inputs.size(); ++i) {
    sent.push_back(shared_[i] ? audit->inputs[i] : TakeRows(audit->inputs[i], audit->rows).Unpinned());
  }
  // Nothing else of the request is held while the call is out.
  audit->inputs.clear();
  std::vector<Tensor> cheap(audit->cheap.size());
  for (const size_t i : compared_) cheap[i] = TakeRows(audit->cheap[i], audit->rows).Unpinned();
  audit->cheap = std::move(cheap);
  const Ref<const RequestContext> context = ShadowContext(*audit->context, watch_.audit_timeout, clock_);
  audit->context = nullptr;
  router_.Call(target_, context, sent, [audit = std::move(audit)](absl::StatusOr<PeerMessage> reply) mutable {
    const std::shared_ptr<CascadeWatcher> watcher = audit->watcher;
    watcher->background_->Schedule([audit = std::move(audit), reply = std::move(reply)]() mutable {
      CascadeWatcher& self = *audit->watcher;
      self.OnReply(std::move(audit), std::move(reply));
    });
  });
}

absl::StatusOr<std::vector<Tensor>> CascadeWatcher::TakeAnswer(const Audit& audit,
                                                               absl::StatusOr<PeerMessage> reply) const {
  RETURN_IF_ERROR(reply.status());
  if (!reply->header.notes.empty() || !reply->header.row_status.empty()) {
    return absl::UnavailableError("the answer is not the full model's own");
  }
  ASSIGN_OR_RETURN(std::vector<Tensor> full, check_.Take(*std::move(reply)));
  for (const size_t i : compared_) {
    if (full[i].dtype() == audit.cheap[i].dtype() && full[i].shape() == audit.cheap[i].shape()) continue;
    return absl::InternalError("the answer has not the shape of the cheap one");
  }
  return full;
}

void CascadeWatcher::OnReply(std::unique_ptr<Audit> audit, absl::StatusOr<PeerMessage> reply) {
  // It may be the last owner.
  const std::shared_ptr<CascadeWatcher> self = audit->watcher;
  const auto num_rows = static_cast<int64_t>(audit->rows.size());
  const absl::StatusOr<std::vector<Tensor>> full = TakeAnswer(*audit, std::move(reply));
  if (!full.ok()) {
    audit.reset();
    const bool busy = absl::IsResourceExhausted(full.status());
    if (busy) busy_until_us_.store(absl::ToUnixMicros(clock_.Now() + kBusyFor), std::memory_order_relaxed);
    return metrics_.Dropped(static_cast<size_t>(num_rows), busy ? "busy" : "failed");
  }
  Rows all(static_cast<size_t>(num_rows));
  for (int64_t row = 0; row < num_rows; ++row) all[static_cast<size_t>(row)] = row;
  const int64_t disagreed = CountDisagreeing(*full, audit->cheap, all, metrics_.outputs());
  // Who sees the count finds room for another one.
  audit.reset();
  if (disagreed > 0) metrics_.disagreed()->Add(static_cast<double>(disagreed));
  metrics_.audited()->Add(static_cast<double>(num_rows));
  const absl::Time now = clock_.Now();
  agreed_.Add(now, num_rows, num_rows - disagreed);
  Judge(now);
}

int64_t CascadeWatcher::CountDisagreeing(absl::Span<const Tensor> full, absl::Span<const Tensor> cheap,
                                         absl::Span<const int64_t> rows, absl::Span<Counter* const> outputs) const {
  std::vector<bool> any(rows.size(), false);
  for (size_t k = 0; k < compared_.size(); ++k) {
    const size_t i = compared_[k];
    if (full[i].dtype() != cheap[i].dtype()) return static_cast<int64_t>(rows.size());
    const std::vector<bool> disagree = RowsThatDisagree(full[i], cheap[i], rows, watch_.agreement_tolerance);
    const auto count = absl::c_count(disagree, true);
    if (count > 0 && !outputs.empty()) outputs[k]->Add(static_cast<double>(count));
    for (size_t row = 0; row < rows.size(); ++row) any[row] = any[row] || disagree[row];
  }
  return absl::c_count(any, true);
}

// Drift.

void CascadeWatcher::Judge(absl::Time now) {
  const int64_t now_us = absl::ToUnixMicros(now);
  int64_t due = judge_at_us_.load(std::memory_order_relaxed);
  if (now_us < due || !judge_at_us_.compare_exchange_strong(due, now_us + absl::ToInt64Microseconds(kJudgeEvery),
                                                            std::memory_order_relaxed)) {
    return;
  }
  const ShareWindow::Counts escalated = escalated_.Sum(now), sent = sent_.Sum(now), agreed = agreed_.Sum(now);
  if (escalated.trials > 0) metrics_.escalated_share()->Set(escalated.share());
  if (sent.trials > 0) metrics_.saved_share()->Set(1 - sent.share());
  if (agreed.trials > 0) metrics_.agreement_share()->Set(agreed.share());
  if (escalated_drift_.has_value()) {
    metrics_.escalated_drifted()->Set(escalated_drift_->Judge(escalated) ? 1 : 0);
  }
  if (agreement_drift_.has_value()) {
    metrics_.agreement_drifted()->Set(agreement_drift_->Judge(agreed) ? 1 : 0);
  }
}

// Brown-out.

void CascadeWatcher::CountCall(bool overloaded) {
  if (brown_out_->Ended(overloaded)) ScheduleStep();
}

void CascadeWatcher::ScheduleStep() {
  router_.timer().ScheduleAt(clock_.Now() + BrownOut::kStep, [weak = weak_from_this()] {
    if (const std::shared_ptr<CascadeWatcher> self = weak.lock()) self->Step();
  });
}

void CascadeWatcher::Step() {
  const double before = brown_out_->level();
  const BrownOut::State state = brown_out_->Step();
  metrics_.shed_share()->Set(state.level);
  if (before == 0 && state.level > 0) {
    LogWarning(absl::StrCat(context_, ": brown-out: ", state.overloaded, " of ", state.calls,
                            " calls were refused or late; up to ", absl::StrFormat("%.4g%%", 100 * watch_.max_shed),
                            " of the rows that escalate keep the cheap answer until that is over"));
  } else if (before > 0 && state.level == 0) {
    LogInfo(absl::StrCat(context_, ": the brown-out is over"));
  }
  if (!state.over) ScheduleStep();
}

}  // namespace portico
