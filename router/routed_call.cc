#include "router/routed_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {
namespace {

/// Where neither the request nor the policy has a limit: nothing waits forever.
constexpr absl::Duration kDefaultTimeout = absl::Seconds(60);

/// The peer's answer as a status; a code that is none counts as UNKNOWN.
absl::Status StatusOfReply(const PeerHeader& header) {
  if (header.code == 0) return absl::OkStatus();
  const auto code = header.code <= static_cast<uint32_t>(absl::StatusCode::kUnauthenticated)
                        ? static_cast<absl::StatusCode>(header.code)
                        : absl::StatusCode::kUnknown;
  return absl::Status(code, header.message);
}

}  // namespace

RoutedCall::RoutedCall(ReplicaSet& set, Surroundings& surroundings, Ref<const RequestContext> context,
                       Router::Done done)
    : set_(set),
      surroundings_(surroundings),
      context_(std::move(context)),
      done_(std::move(done)),
      start_(surroundings.clock.Now()) {
  set_.metrics().Began();
}

RoutedCall::~RoutedCall() {
  if (!done_) return;
  if (!tried_.empty()) tried_.back()->endpoint().in_flight().fetch_sub(1, std::memory_order_relaxed);
  set_.metrics().Ended(absl::StatusCode::kInternal, surroundings_.clock.Now() - start_);
  std::move(done_)(absl::InternalError(
      absl::StrCat("portal to '", set_.target().name, "': the call was dropped without an answer")));
}

void RoutedCall::Start(std::unique_ptr<RoutedCall> self, const RouteTarget& target, absl::Span<const Tensor> tensors) {
  if (absl::Status status = self->Admissible(target, tensors.size()); !status.ok()) {
    Finish(std::move(self), std::move(status));
    return;
  }
  Replica* replica = self->set_.Pick(self->start_, self->surroundings_.random());
  if (replica == nullptr) {
    absl::Status status = self->set_.Unavailable();
    Finish(std::move(self), std::move(status));
    return;
  }
  self->target_ = &target;
  if (self->set_.policy().retries > 0 && self->set_.size() > 1) self->kept_.assign(tensors.begin(), tensors.end());
  self->set_.retry_budget().Earn();
  Send(std::move(self), replica, tensors);
}

void RoutedCall::Send(std::unique_ptr<RoutedCall> self, Replica* replica, absl::Span<const Tensor> tensors) {
  self->sent_ = self->tried_.empty() ? self->start_ : self->surroundings_.clock.Now();
  self->tried_.push_back(replica);
  const PeerHeader header = self->MakeHeader(*self->target_, tensors.size());
  const Deadline deadline = self->CallDeadline();
  Channel& channel = *replica->endpoint().channel();
  replica->endpoint().in_flight().fetch_add(1, std::memory_order_relaxed);
  channel.Call(header, tensors, deadline, [self = std::move(self)](absl::StatusOr<PeerMessage> reply) mutable {
    OnReply(std::move(self), std::move(reply));
  });
}

absl::Status RoutedCall::Admissible(const RouteTarget& target, size_t num_tensors) const {
  const std::string& name = target.servable.name;
  if (context_->cancelled.load(std::memory_order_relaxed)) {
    return absl::CancelledError(absl::StrCat("portal to '", name, "': the client has gone"));
  }
  if (context_->deadline.at() <= start_) {
    return absl::DeadlineExceededError(
        absl::StrCat("portal to '", name, "': the request's deadline passed before the call"));
  }
  if (context_->hop + 1 > RequestContext::kMaxHops) {
    return absl::InternalError(absl::StrCat("portal to '", name, "': got hop ", context_->hop + 1, ", want at most ",
                                            RequestContext::kMaxHops, "; servables call each other in a circle"));
  }
  if (!target.servable.label.empty()) {
    return absl::InternalError(absl::StrCat("portal to '", target.servable.ToString(),
                                            "': got a label, want a version or a digest; labels are for clients"));
  }
  if (!target.input_names.empty() && target.input_names.size() != num_tensors) {
    return absl::InternalError(
        absl::StrCat("portal to '", name, "': got ", num_tensors, " inputs, want ", target.input_names.size()));
  }
  return absl::OkStatus();
}

Deadline RoutedCall::CallDeadline() const {
  const absl::Duration timeout = set_.policy().timeout;
  if (timeout > absl::ZeroDuration()) return context_->deadline.Sooner(Deadline::At(start_ + timeout));
  return context_->deadline.infinite() ? Deadline::At(start_ + kDefaultTimeout) : context_->deadline;
}

PeerHeader RoutedCall::MakeHeader(const RouteTarget& target, size_t num_tensors) {
  PeerHeader header;
  header.servable = target.servable.name;
  header.version = target.servable.version;
  if (!target.servable.digest.empty()) header.digest = target.servable.digest.View();
  header.revision = context_->revision;
  header.signature = target.signature;
  header.trace_id_high = context_->trace.trace_id_high;
  header.trace_id_low = context_->trace.trace_id_low;
  header.parent_span_id = context_->trace.parent_span_id;
  header.sampled = context_->trace.sampled;
  if (context_->MayRecord()) header.parent_span_id = span_id_ = NewSpanId();
  header.trace_state = context_->trace_state;
  header.tenant = context_->tenant;
  header.product = context_->product;
  header.priority = context_->priority;
  header.hop = static_cast<uint32_t>(context_->hop) + 1;
  header.attempt = static_cast<uint32_t>(context_->attempt) + static_cast<uint32_t>(tried_.size()) - 1;
  if (!target.input_names.empty()) {
    header.tensors.resize(num_tensors);
    for (size_t i = 0; i < num_tensors; ++i) header.tensors[i].name = target.input_names[i];
  }
  return header;
}

Replica* RoutedCall::PickAnother(const absl::Status& status, absl::Time now) {
  if (!MayRetry(status) || static_cast<int>(tried_.size()) > set_.policy().retries || set_.size() <= tried_.size()) {
    return nullptr;
  }
  if (context_->cancelled.load(std::memory_order_relaxed) || CallDeadline().at() <= now) return nullptr;
  Replica* replica = set_.Pick(now, surroundings_.random(), tried_);
  if (replica == nullptr || !surroundings_.retries.Enter()) return nullptr;
  if (set_.retry_budget().Take()) return replica;
  set_.metrics().RetryRefused();
  surroundings_.retries.Leave();
  return nullptr;
}

void RoutedCall::OnReply(std::unique_ptr<RoutedCall> self, absl::StatusOr<PeerMessage> reply) {
  Replica& replica = *self->tried_.back();
  Endpoint& endpoint = replica.endpoint();
  endpoint.in_flight().fetch_sub(1, std::memory_order_relaxed);
  const absl::Time now = self->surroundings_.clock.Now();
  absl::Status status = reply.ok() ? StatusOfReply(reply->header) : reply.status();
  if (replica.Learn(now, now - self->sent_, BlameOf(status))) self->set_.metrics().Ejected();
  if (self->span_id_ != 0 && self->context_->Records(now - self->sent_)) {
    self->AddSpans(reply.ok() ? reply->header : PeerHeader(), status, now);
  }
  if (Replica* another = self->PickAnother(status, now); another != nullptr) {
    self->set_.metrics().Retried();
    absl::StrAppend(&self->earlier_, "; before, at ", endpoint.url(), ": ", status.message());
    Gate& gate = self->surroundings_.retries;
    // A copy: the call may be gone before Send() returns.
    const absl::InlinedVector<Tensor, 4> tensors = self->kept_;
    Send(std::move(self), another, tensors);
    gate.Leave();
    return;
  }
  if (!status.ok()) {
    if (!self->earlier_.empty()) status = absl::Status(status.code(), absl::StrCat(status.message(), self->earlier_));
    const std::string tries = self->tried_.size() == 1 ? "" : absl::StrCat(", try ", self->tried_.size());
    reply = FromInnerHop(absl::StrCat("portal to '", self->set_.target().name, "' at ", endpoint.url(), tries), status);
  }
  Finish(std::move(self), std::move(reply));
}

void RoutedCall::AddSpans(const PeerHeader& reply, const absl::Status& status, absl::Time now) {
  Span portal;
  portal.span_id = span_id_;
  portal.parent_span_id = context_->trace.parent_span_id;
  portal.name = absl::StrCat("portal ", set_.target().name);
  if (tried_.size() > 1) absl::StrAppend(&portal.name, ", try ", tried_.size());
  portal.start = sent_;
  portal.duration = now - sent_;
  portal.error = ErrorName(status);
  context_->spans.Add(std::move(portal));
  for (const WireSpan& wire : reply.spans) {
    Span span;
    span.span_id = wire.span_id;
    span.parent_span_id = wire.parent_span_id;
    span.name = std::string(wire.name);
    span.node = std::string(wire.node);
    span.start = absl::FromUnixMicros(wire.start_us);
    span.duration = absl::Nanoseconds(static_cast<int64_t>(std::min<uint64_t>(wire.duration_ns, INT64_MAX)));
    span.error = std::string(wire.error);
    context_->spans.Add(std::move(span));
  }
}

void RoutedCall::Finish(std::unique_ptr<RoutedCall> self, absl::StatusOr<PeerMessage> result) {
  self->set_.metrics().Ended(result.status().code(), self->surroundings_.clock.Now() - self->start_);
  Router::Done done = std::move(self->done_);
  self = nullptr;
  done(std::move(result));
}

}  // namespace portico
