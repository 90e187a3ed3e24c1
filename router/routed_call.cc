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

RoutedCall::RoutedCall(ReplicaSet& set, const Clock& clock, Ref<const RequestContext> context, Router::Done done)
    : set_(set), clock_(clock), context_(std::move(context)), done_(std::move(done)), start_(clock.Now()) {
  set_.metrics().Began();
}

RoutedCall::~RoutedCall() {
  if (!done_) return;
  if (replica_ != nullptr) replica_->endpoint().in_flight().fetch_sub(1, std::memory_order_relaxed);
  set_.metrics().Ended(absl::StatusCode::kInternal, clock_.Now() - start_);
  std::move(done_)(absl::InternalError(
      absl::StrCat("portal to '", set_.target().name, "': the call was dropped without an answer")));
}

void RoutedCall::Start(std::unique_ptr<RoutedCall> self, const RouteTarget& target, absl::Span<const Tensor> tensors,
                       uint64_t random) {
  if (absl::Status status = self->Admissible(target, tensors.size()); !status.ok()) {
    Finish(std::move(self), std::move(status));
    return;
  }
  Replica* replica = self->set_.Pick(self->start_, random);
  if (replica == nullptr) {
    absl::Status status = self->set_.Unavailable();
    Finish(std::move(self), std::move(status));
    return;
  }
  self->replica_ = replica;
  const PeerHeader header = self->MakeHeader(target, tensors.size());
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
  if (set_.timeout() > absl::ZeroDuration()) return context_->deadline.Sooner(Deadline::At(start_ + set_.timeout()));
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
  header.attempt = static_cast<uint32_t>(context_->attempt);
  if (!target.input_names.empty()) {
    header.tensors.resize(num_tensors);
    for (size_t i = 0; i < num_tensors; ++i) header.tensors[i].name = target.input_names[i];
  }
  return header;
}

void RoutedCall::OnReply(std::unique_ptr<RoutedCall> self, absl::StatusOr<PeerMessage> reply) {
  Endpoint& endpoint = self->replica_->endpoint();
  endpoint.in_flight().fetch_sub(1, std::memory_order_relaxed);
  const absl::Time now = self->clock_.Now();
  absl::Status status = reply.ok() ? StatusOfReply(reply->header) : reply.status();
  // The caller's own cancel says nothing of the replica.
  if (status.code() != absl::StatusCode::kCancelled) self->replica_->Learn(now, now - self->start_, !status.ok());
  if (self->span_id_ != 0 && self->context_->Records(now - self->start_)) {
    self->AddSpans(reply.ok() ? reply->header : PeerHeader(), status, now);
  }
  if (!status.ok()) {
    reply = FromInnerHop(absl::StrCat("portal to '", self->set_.target().name, "' at ", endpoint.url()), status);
  }
  Finish(std::move(self), std::move(reply));
}

void RoutedCall::AddSpans(const PeerHeader& reply, const absl::Status& status, absl::Time now) {
  Span portal;
  portal.span_id = span_id_;
  portal.parent_span_id = context_->trace.parent_span_id;
  portal.name = absl::StrCat("portal ", set_.target().name);
  portal.start = start_;
  portal.duration = now - start_;
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
  self->set_.metrics().Ended(result.status().code(), self->clock_.Now() - self->start_);
  Router::Done done = std::move(self->done_);
  self = nullptr;
  done(std::move(result));
}

}  // namespace portico
