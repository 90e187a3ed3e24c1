#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rows.h"
#include "base/status_macros.h"
#include "remote_op/cascade_metrics.h"
#include "remote_op/cascade_watcher.h"
#include "remote_op/live_fallback.h"
#include "remote_op/portal.h"
#include "remote_op/reply_check.h"
#include "remote_op/route_target.h"
#include "transport/wire_row_notes.h"

namespace portico {
namespace {

using OnRowError = CascadeSpec::OnRowError;
using Rows = std::vector<int64_t>;

/// What the row status says.
constexpr int8_t kFull = 1;
constexpr int8_t kFailed = 2;

Rows Select(const Rows& rows, const Rows& positions) {
  Rows selected;
  selected.reserve(positions.size());
  for (const int64_t at : positions) selected.push_back(rows[static_cast<size_t>(at)]);
  return selected;
}

Tensor RowStatusOf(int64_t num_rows, const Rows& answered, const Rows& failed) {
  Tensor status = Tensor::Allocate(DType::kInt8, {num_rows});
  char* const to = status.mutable_bytes();
  std::fill_n(to, num_rows, '\0');
  for (const int64_t row : answered) to[row] = kFull;
  for (const int64_t row : failed) to[row] = kFailed;
  return status;
}

/// `Cascade`: the rows that escalate go to the full model in one call, the others keep the cheap answer. Nothing
/// escalates: no call. What the full model has no answer for is `on_row_error`'s; the request's other rows are not
/// touched by it.
class Cascade final : public Portal {
 public:
  /// `spec`'s outputs are those of the full model.
  Cascade(const PortalSpec& spec, Router& router)
      : router_(router),
        context_(absl::StrCat("portal '", spec.node_name, "' to '", spec.target, "'")),
        target_(RouteTargetOf(spec)),
        inputs_(spec.input_names),
        answers_(spec.outputs),
        cascade_(*spec.cascade),
        check_(spec.target, spec.outputs, spec.digest.empty()),
        fallback_(spec, router),
        metrics_(router.metrics(), spec.node_name, spec.target),
        watcher_(spec.cascade->watch.on() ? std::make_shared<CascadeWatcher>(spec, router, router.background())
                                          : nullptr) {}

  /// First, once.
  absl::Status Begin() { return fallback_.Begin(); }

  void Run(const Ref<const RequestContext>& context, std::vector<Tensor> inputs, OpDone done) override;
  absl::Status Health() const override { return router_.Health(target_); }
  absl::Status AcceptsPolicies(const Revision& revision) const override {
    return fallback_.Check(revision.PolicyFor(target_.servable.name).on_error);
  }
  std::string Target() const override { return absl::StrCat(target_.servable.ToString(), ":", target_.signature); }

 private:
  class Call;

  absl::Status CheckInputs(absl::Span<const Tensor> inputs) const;
  absl::Status CheckNeed(const Tensor& need, int64_t rows) const;
  absl::Status WantRows(absl::string_view what, const std::string& name, const Tensor& tensor, int64_t rows) const;

  Router& router_;
  /// "portal 'cascade' to 'full'", for messages.
  const std::string context_;
  const RouteTarget target_;
  /// Of the full model; empty where tensors go by position and nobody named them.
  const std::vector<std::string> inputs_;
  const std::vector<TensorSpec> answers_;
  const CascadeSpec cascade_;
  const ReplyCheck check_;
  LiveFallback fallback_;
  CascadeMetrics metrics_;
  /// Null where nothing is to be watched.
  const std::shared_ptr<CascadeWatcher> watcher_;
};

/// One request's call of the full model: Start (gather) → OnReply → OnAnswer or OnFailure → Finish (put back). Owned by
/// the completion.
class Cascade::Call {
 public:
  /// `watched`: null where nobody watches.
  Call(Cascade& cascade, Ref<const RequestContext> context, Rows rows, int64_t num_rows, std::vector<Tensor> cheap,
       std::unique_ptr<CascadeWatcher::Request> watched, OpDone done)
      : cascade_(cascade),
        context_(std::move(context)),
        rows_(std::move(rows)),
        num_rows_(num_rows),
        cheap_(std::move(cheap)),
        watched_(std::move(watched)),
        done_(std::move(done)) {}

  /// `inputs`: whole ones of the full model.
  static void Start(std::unique_ptr<Call> self, absl::Span<const Tensor> inputs) {
    Cascade& cascade = self->cascade_;
    std::vector<Tensor> sent;
    sent.reserve(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      sent.push_back(cascade.cascade_.shared[i] ? inputs[i] : TakeRows(inputs[i], self->rows_));
    }
    self->fallback_ = cascade.fallback_.Get();
    if (self->fallback_ != nullptr) {
      self->question_ = self->fallback_->Ask(sent);
      self->question_.rows = static_cast<int64_t>(self->rows_.size());
    }
    const Ref<const RequestContext> context = self->context_;
    cascade.router_.Call(cascade.target_, context, sent, [self = std::move(self)](absl::StatusOr<PeerMessage> reply) {
      self->OnReply(std::move(reply));
    });
  }

 private:
  void OnReply(absl::StatusOr<PeerMessage> reply) {
    if (watched_ != nullptr) watched_->CallEnded(reply.status());
    if (!reply.ok()) return OnFailure(reply.status());
    // What stood in for an answer further down is not the target's own.
    const bool own = reply->header.notes.empty() && reply->header.row_status.empty();
    absl::StatusOr<std::vector<RowNote>> notes = RowNotesOf(reply->header);
    if (!notes.ok()) return OnFailure(FromInnerHop(cascade_.context_, notes.status()));
    absl::StatusOr<std::vector<Tensor>> full = cascade_.check_.Take(*std::move(reply));
    if (!full.ok()) return OnFailure(full.status());
    if (absl::Status fits = CheckAnswer(*full); !fits.ok()) return OnFailure(fits);
    if (own && fallback_ != nullptr) fallback_->Remember(question_, *full);
    if (own && watched_ != nullptr) own_answer_ = *full;
    OnAnswer(*std::move(full), *std::move(notes));
  }

  /// Whether there is a row for each that was sent, like those of the cheap answer.
  absl::Status CheckAnswer(absl::Span<const Tensor> full) const {
    for (size_t i = 0; i < full.size(); ++i) {
      const Tensor& tensor = full[i];
      Shape want = cheap_[i].shape();
      want[0] = static_cast<int64_t>(rows_.size());
      if (tensor.shape() == want) continue;
      return absl::InternalError(absl::StrCat(cascade_.context_, ": output '", cascade_.answers_[i].name, "': got ",
                                              DTypeName(tensor.dtype()), ShapeString(tensor.shape()), ", want ",
                                              DTypeName(cheap_[i].dtype()), ShapeString(want),
                                              ": a row for each that was sent, of the shape of the cheap answer's"));
    }
    return absl::OkStatus();
  }

  /// `notes` are of rows as they were sent.
  void OnAnswer(std::vector<Tensor> full, std::vector<RowNote> notes) {
    if (notes.empty()) return Finish(std::move(full), {}, {});
    std::vector<RowNote> mine;
    std::vector<bool> failed(rows_.size(), false);
    size_t num_failed = 0;
    for (RowNote& note : notes) {
      const std::vector<RowRange> within = RangesWithin(rows_, note.rows);
      if (note.kind != RowNotes::kMark) {
        mine.push_back({std::move(note.portal), std::move(note.kind), std::move(note.why), within});
        continue;
      }
      if (within.empty()) continue;
      if (cascade_.cascade_.on_row_error == OnRowError::kFail) {
        cascade_.metrics_.Failed(static_cast<size_t>(CountRows(within)), "fail");
        return done_(WithContext(absl::StrCat(cascade_.context_, ": row ", within[0].first), note.why));
      }
      for (const RowRange& range : note.rows) {
        const int64_t end = std::min(static_cast<int64_t>(rows_.size()), range.first + range.count);
        for (int64_t at = range.first; at < end; ++at) {
          num_failed += failed[static_cast<size_t>(at)] ? 0 : 1;
          failed[static_cast<size_t>(at)] = true;
        }
      }
      mine.push_back({cascade_.target_.servable.name, std::string(OnRowErrorName(cascade_.cascade_.on_row_error)),
                      std::move(note.why), within});
    }
    for (RowNote& note : mine) context_->row_notes.Add(std::move(note));
    if (num_failed == 0) return Finish(std::move(full), {}, {});
    cascade_.metrics_.Failed(num_failed, OnRowErrorName(cascade_.cascade_.on_row_error));
    Rows answered_at, failed_at;
    for (size_t at = 0; at < failed.size(); ++at) {
      (failed[at] ? failed_at : answered_at).push_back(static_cast<int64_t>(at));
    }
    for (Tensor& tensor : full) tensor = TakeRows(tensor, answered_at);
    const Rows lost = Select(rows_, failed_at);
    rows_ = Select(rows_, answered_at);
    Finish(std::move(full), lost, lost);
  }

  /// There is no answer to any row.
  void OnFailure(const absl::Status& why) {
    if (!MayFallBack(why, *context_, cascade_.router_.clock())) return done_(why);
    const std::string& target = cascade_.target_.servable.name;
    if (std::optional<std::vector<Tensor>> answer = FallbackAnswer(); answer.has_value()) {
      const absl::string_view kind = fallback_->kind();
      context_->fallbacks.Add(target, kind);
      cascade_.router_.CountFallback(cascade_.target_, kind);
      NoteAll(kind, why);
      return Finish(*std::move(answer), {}, rows_);
    }
    const absl::string_view kind = OnRowErrorName(cascade_.cascade_.on_row_error);
    if (cascade_.cascade_.on_row_error == OnRowError::kFail) {
      cascade_.metrics_.Failed(rows_.size(), kind);
      return done_(why);
    }
    NoteAll(kind, why);
    Rows lost = std::move(rows_);
    rows_.clear();
    Finish({}, lost, lost);
  }

  std::optional<std::vector<Tensor>> FallbackAnswer() const {
    if (fallback_ == nullptr) return std::nullopt;
    std::optional<std::vector<Tensor>> answer = fallback_->Answer(question_);
    if (answer.has_value() && !CheckAnswer(*answer).ok()) return std::nullopt;
    return answer;
  }

  void NoteAll(absl::string_view kind, const absl::Status& why) {
    context_->row_notes.Add(cascade_.target_.servable.name, kind, why, rows_);
    cascade_.metrics_.Failed(rows_.size(), kind);
  }

  /// `full` answers rows_; `lost` have no answer; of `failed` the row status says so.
  void Finish(std::vector<Tensor> full, const Rows& lost, const Rows& failed) {
    std::vector<Tensor> outputs = std::move(cheap_);
    outputs.reserve(outputs.size() + 1);
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!full.empty()) outputs[i] = PutRows(outputs[i], rows_, full[i]);
      if (lost.empty() || cascade_.cascade_.on_row_error != OnRowError::kMark) continue;
      Shape shape = outputs[i].shape();
      shape[0] = static_cast<int64_t>(lost.size());
      outputs[i] = PutRows(outputs[i], lost, Marks(outputs[i].dtype(), std::move(shape)));
    }
    if (cascade_.cascade_.row_status) outputs.push_back(RowStatusOf(num_rows_, rows_, failed));
    done_(std::move(outputs));
    if (watched_ != nullptr) watched_->Answered(own_answer_, rows_);
  }

  Cascade& cascade_;
  const Ref<const RequestContext> context_;
  /// The request's rows that escalate; from OnAnswer() on, those that are answered.
  Rows rows_;
  const int64_t num_rows_;
  std::vector<Tensor> cheap_;
  const std::unique_ptr<CascadeWatcher::Request> watched_;
  /// What the full model itself says of rows_, for who watches.
  std::vector<Tensor> own_answer_;
  /// As the call began; null where a failed call fails.
  Fallback* fallback_ = nullptr;
  Fallback::Question question_;
  OpDone done_;
};

void Cascade::Run(const Ref<const RequestContext>& context, std::vector<Tensor> inputs, OpDone done) {
  Tensor need;
  if (cascade_.watch.browns_out() && !inputs.empty()) {
    need = std::move(inputs.back());
    inputs.pop_back();
  }
  if (absl::Status fits = CheckInputs(inputs); !fits.ok()) return done(WithContext(context_, fits));
  const int64_t num_rows = inputs[0].rows();
  if (absl::Status fits = CheckNeed(need, num_rows); !fits.ok()) return done(WithContext(context_, fits));
  Rows rows = TrueRows(inputs[0]);
  std::unique_ptr<CascadeWatcher::Request> watched;
  if (watcher_ != nullptr) watched = watcher_->Begin(context, num_rows, need, &rows);
  metrics_.Came(static_cast<size_t>(num_rows), rows.size(), watched == nullptr ? 0 : watched->audited());
  const auto first_of_full = inputs.begin() + 1 + static_cast<ptrdiff_t>(answers_.size());
  std::vector<Tensor> cheap(std::make_move_iterator(inputs.begin() + 1), std::make_move_iterator(first_of_full));
  const absl::Span<const Tensor> of_full = absl::MakeConstSpan(inputs).subspan(1 + answers_.size());
  if (watched != nullptr) watched->Keep(cheap, of_full);
  if (rows.empty()) {
    if (cascade_.row_status) cheap.push_back(RowStatusOf(num_rows, {}, {}));
    done(std::move(cheap));
    // Nothing of the cascade is touched from here on: it may be gone.
    if (watched != nullptr) watched->Answered({}, {});
    return;
  }
  Call::Start(std::make_unique<Call>(*this, context, std::move(rows), num_rows, std::move(cheap), std::move(watched),
                                     std::move(done)),
              of_full);
}

absl::Status Cascade::CheckNeed(const Tensor& need, int64_t rows) const {
  if (!cascade_.watch.browns_out()) return absl::OkStatus();
  if (need.dtype() == DType::kFloat && need.shape() == Shape{rows}) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the last input: got ", DTypeName(need.dtype()),
                                                 ShapeString(need.shape()), ", want float32[", rows,
                                                 "], how much each row needs the full model"));
}

absl::Status Cascade::CheckInputs(absl::Span<const Tensor> inputs) const {
  const size_t want = 1 + answers_.size() + cascade_.shared.size();
  if (inputs.size() != want) {
    return absl::InvalidArgumentError(absl::StrCat("inputs: got ", inputs.size(), ", want ", want));
  }
  const Tensor& escalate = inputs[0];
  if (escalate.dtype() != DType::kBool || escalate.shape().size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat("input 'escalate': got ", DTypeName(escalate.dtype()),
                                                   ShapeString(escalate.shape()),
                                                   ", want bool[N], which rows the full model is to answer"));
  }
  for (size_t i = 0; i < answers_.size(); ++i) {
    const Tensor& cheap = inputs[1 + i];
    RETURN_IF_ERROR(answers_[i].Check("cheap answer", cheap));
    RETURN_IF_ERROR(WantRows("cheap answer", answers_[i].name, cheap, escalate.rows()));
  }
  for (size_t i = 0; i < cascade_.shared.size(); ++i) {
    if (cascade_.shared[i]) continue;
    RETURN_IF_ERROR(WantRows("input", inputs_.empty() ? absl::StrCat(i) : inputs_[i], inputs[1 + answers_.size() + i],
                             escalate.rows()));
  }
  return absl::OkStatus();
}

absl::Status Cascade::WantRows(absl::string_view what, const std::string& name, const Tensor& tensor,
                               int64_t rows) const {
  if (!tensor.shape().empty() && tensor.rows() == rows) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, " '", name, "': got ", DTypeName(tensor.dtype()),
                                                 ShapeString(tensor.shape()), ", want ", rows,
                                                 " rows, as 'escalate' has"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Portal>> NewCascade(const PortalSpec& spec, Router& router) {
  if (!spec.cascade.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("portal '", spec.node_name, "': got no attributes of a Cascade; read it with ReadPortalSpec()"));
  }
  PortalSpec of_target = spec;
  if (spec.cascade->row_status) of_target.outputs.pop_back();
  RETURN_IF_ERROR(CheckPortalSpec(of_target));
  auto cascade = std::make_unique<Cascade>(of_target, router);
  RETURN_IF_ERROR(cascade->Begin());
  return cascade;
}

}  // namespace portico
