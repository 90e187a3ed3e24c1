#include "router/routed_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "router/portal_spans.h"
#include "router/stable_hash.h"

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

/// What balances a call: the client's own key, else its content: its first input, of which the beginning has to do.
uint64_t KeyOf(const RequestContext& context, absl::Span<const Tensor> tensors) {
  constexpr size_t kMaxBytes = 4096;
  if (context.key != 0) return context.key;
  if (tensors.empty()) return 0;
  return StableHash(tensors[0].bytes().substr(0, kMaxBytes));
}

/// Whether every replica would say the same, so that nobody else needs to be waited for.
bool SaysAll(const absl::Status& status) {
  return status.ok() || (BlameOf(status) == Blame::kRequest && status.code() != absl::StatusCode::kCancelled);
}

}  // namespace

/// The completion of one try; a dropped one becomes an error.
class RoutedCall::TryDone {
 public:
  TryDone(Ref<RoutedCall> call, size_t index) : call_(std::move(call)), index_(index) {}
  TryDone(TryDone&&) noexcept = default;
  ~TryDone() {
    if (call_) (*this)(absl::InternalError("the call was dropped without an answer"));
  }
  void operator()(absl::StatusOr<PeerMessage> reply) {
    const Ref<RoutedCall> call = std::exchange(call_, nullptr);
    call->OnReply(index_, std::move(reply));
  }

 private:
  Ref<RoutedCall> call_;
  size_t index_;
};

RoutedCall::RoutedCall(ReplicaSet& set, Surroundings& surroundings, Ref<const RequestContext> context,
                       Router::Done done)
    : set_(set),
      policy_(set.policy()),
      surroundings_(surroundings),
      context_(std::move(context)),
      done_(std::move(done)),
      start_(surroundings.clock.Now()) {
  set_.metrics().Began();
}

void RoutedCall::Start(const RouteTarget& target, absl::Span<const Tensor> tensors) {
  if (absl::Status status = Admit(target, tensors.size()); !status.ok()) return Finish(std::move(status));
  if (set_.needs_key()) key_ = KeyOf(*context_, tensors);
  Ref<Replica> replica = set_.Pick(start_, surroundings_.random(), {}, key_, context_->revision);
  if (!replica) return Finish(set_.Unavailable());
  target_ = &target;
  set_.retry_budget().Earn();
  const bool alone = set_.size() < 2;
  absl::Time hedge_at = absl::InfiniteFuture();
  if (set_.hedging().on() && !alone) {
    set_.hedging().budget().Earn();
    hedge_at = start_ + set_.hedging().Delay();
  }
  // A copy is worth one call.
  const bool repeats = !alone && !context_->shadow;
  in_queue_ = repeats && hedge_at < CallDeadline().at();
  Try first;
  {
    MutexLock lock(&mutex_);
    repeatable_ = repeats && (in_queue_ || set_.policy().retries > 0);
    if (repeatable_) kept_.assign(tensors.begin(), tensors.end());
    first = Begin(std::move(replica), /*hedge=*/false);
  }
  context_->cancel_waiters.Add(Ref<CancelHook>(this));
  if (context_->cancelled.load(std::memory_order_seq_cst)) OnCancel();  // It may have come before the hook was there.
  if (in_queue_) set_.hedging().queue().Add(*this, Ref<RefCounted>(this), hedge_at, *surroundings_.timer);
  Transmit(first, target, tensors);
}

absl::Status RoutedCall::Admit(const RouteTarget& target, size_t num_tensors) {
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
  const int limit = policy_.max_in_flight;
  if (limit == 0) return absl::OkStatus();
  const CallWindow::Place place = set_.window().Enter(limit);
  in_window_ = place.entered;
  if (in_window_) return absl::OkStatus();
  set_.metrics().WindowFull();
  return absl::ResourceExhaustedError(absl::StrCat("portal to '", name, "': got ", place.fill,
                                                   " calls in flight from this node, want at most ", limit,
                                                   " (max_in_flight); try again later or add replicas"));
}

Deadline RoutedCall::CallDeadline() const {
  const absl::Duration timeout = policy_.timeout;
  if (timeout > absl::ZeroDuration()) return context_->deadline.Sooner(Deadline::At(start_ + timeout));
  return context_->deadline.infinite() ? Deadline::At(start_ + kDefaultTimeout) : context_->deadline;
}

PeerHeader RoutedCall::MakeHeader(const RouteTarget& target, size_t num_tensors, const Try& one) const {
  PeerHeader header;
  header.servable = target.servable.name;
  header.version = target.servable.version;
  if (!target.servable.digest.empty()) header.digest = target.servable.digest.View();
  header.revision = context_->revision;
  header.signature = target.signature;
  header.trace_id_high = context_->trace.trace_id_high;
  header.trace_id_low = context_->trace.trace_id_low;
  header.parent_span_id = one.span_id != 0 ? one.span_id : context_->trace.parent_span_id;
  header.sampled = context_->trace.sampled;
  header.trace_state = context_->trace_state;
  header.key = context_->key;
  header.draw = context_->draw;
  header.shadow = context_->shadow;
  header.tenant = context_->tenant;
  header.product = context_->product;
  header.priority = context_->priority;
  header.hop = static_cast<uint32_t>(context_->hop) + 1;
  header.attempt = static_cast<uint32_t>(context_->attempt) + static_cast<uint32_t>(one.index);
  if (!target.input_names.empty()) {
    header.tensors.resize(num_tensors);
    for (size_t i = 0; i < num_tensors; ++i) header.tensors[i].name = target.input_names[i];
    header.wanted = target.outputs;
  }
  return header;
}

RoutedCall::Try RoutedCall::Begin(Ref<Replica> replica, bool hedge) {
  Try one;
  one.replica = std::move(replica);
  one.sent = tries_.empty() ? start_ : surroundings_.clock.Now();
  one.index = tries_.size();
  one.hedge = hedge;
  if (context_->MayRecord()) one.span_id = NewSpanId();
  tries_.push_back(one);
  ++out_;
  return one;
}

void RoutedCall::Transmit(const Try& one, const RouteTarget& target, absl::Span<const Tensor> tensors) {
  const Ref<RoutedCall> self(this);  // The answer may come, and all others let go, before this returns.
  Endpoint& endpoint = one.replica->endpoint();
  Channel& channel = *endpoint.channel();
  endpoint.in_flight().fetch_add(1, std::memory_order_relaxed);
  const uint64_t id =
      channel.Call(MakeHeader(target, tensors.size(), one), tensors, CallDeadline(), TryDone(self, one.index));
  bool unwanted;
  {
    MutexLock lock(&mutex_);
    Try& own = tries_[one.index];
    own.has_id = true;
    own.call_id = id;
    unwanted = own.out && (finished_ || cancelled_);
  }
  if (unwanted) channel.Cancel(id);
}

void RoutedCall::OnReply(size_t index, absl::StatusOr<PeerMessage> reply) {
  const absl::Time now = surroundings_.clock.Now();
  const absl::Status status = reply.ok() ? StatusOfReply(reply->header) : reply.status();
  Try one;
  bool late, decided = false, last = false;
  Tries losers;
  {
    MutexLock lock(&mutex_);
    Try& own = tries_[index];
    own.out = false;
    --out_;
    one = own;
    late = finished_;
    if (!late) {
      // A client that has gone is told at once.
      finished_ = decided = SaysAll(status) || (cancelled_ && status.code() == absl::StatusCode::kCancelled);
      last = out_ == 0;
      if (decided && !last) losers = Out();
      if (!decided && !last) NoteFailure(one, status);
    }
  }
  one.replica->endpoint().in_flight().fetch_sub(1, std::memory_order_relaxed);
  // What copies see is nobody's fault: replicas serve others by it.
  if (!context_->shadow && one.replica->Learn(now, now - one.sent, BlameOf(status))) set_.metrics().Ejected();
  if (late) return;
  if (index == 0 && !context_->shadow && (status.ok() || status.code() == absl::StatusCode::kDeadlineExceeded)) {
    set_.hedging().Learn(now - one.sent, now);
  }
  if (one.span_id != 0 && context_->Records(now - one.sent)) {
    AddSpans(one, reply.ok() ? reply->header : PeerHeader(), status, now);
  }
  if (!losers.empty()) TakeBack(losers, SaysAll(status), now);
  if (status.ok()) {
    if (one.hedge) set_.metrics().HedgeWon();
    for (const absl::string_view note : reply->header.notes) context_->fallbacks.AddReceived(note);
    return Finish(std::move(reply));
  }
  // While another try is out, it may still be answered.
  if (decided || (last && !Retry(one, status, now))) Finish(Explain(one, status));
}

RoutedCall::Tries RoutedCall::Out() const {
  Tries out;
  for (const Try& one : tries_) {
    if (one.out) out.push_back(one);
  }
  return out;
}

void RoutedCall::NoteFailure(const Try& one, const absl::Status& status) {
  absl::StrAppend(&earlier_, "; before, at ", one.replica->endpoint().url(), ": ", status.message());
}

Ref<Replica> RoutedCall::PickUntried(absl::Time now) {
  if (!repeatable_) return nullptr;
  absl::InlinedVector<Replica*, 3> tried;
  {
    MutexLock lock(&mutex_);
    for (const Try& one : tries_) tried.push_back(one.replica.get());
  }
  return set_.Pick(now, surroundings_.random(), tried, key_, context_->revision);
}

bool RoutedCall::Retry(const Try& failed, const absl::Status& status, absl::Time now) {
  if (!MayRetry(status) || retries_ >= policy_.retries) return false;
  {
    MutexLock lock(&mutex_);
    if (cancelled_) return false;  // This call alone, maybe.
  }
  if (context_->cancelled.load(std::memory_order_relaxed) || CallDeadline().at() <= now) return false;
  Ref<Replica> another = PickUntried(now);
  Gate& gate = surroundings_.channels;
  if (!another || !gate.Enter()) return false;
  const bool covered = set_.retry_budget().Take();
  if (covered) {
    ++retries_;
    set_.metrics().Retried();
    Try one;
    Tensors tensors;
    {
      MutexLock lock(&mutex_);
      NoteFailure(failed, status);
      one = Begin(std::move(another), /*hedge=*/false);
      tensors = kept_;
    }
    Transmit(one, *target_, tensors);
  } else {
    set_.metrics().RetryRefused();
  }
  gate.Leave();
  return covered;
}

void RoutedCall::OnHedgeDue() {
  const absl::Time now = surroundings_.clock.Now();
  Ref<Replica> another = PickUntried(now);
  if (!another) return;
  RetryBudget& budget = set_.hedging().budget();
  if (!budget.Take()) return set_.metrics().HedgeRefused();
  Try one;
  RouteTarget target;
  Tensors tensors;
  {
    MutexLock lock(&mutex_);
    // Nothing is out for a moment where a failed try is being followed by another one.
    if (finished_ || cancelled_ || out_ != 1) return budget.GiveBack();
    // A copy: the first answer may come at any time now, and the target be gone.
    target = *target_;
    tensors = kept_;
    one = Begin(std::move(another), /*hedge=*/true);
  }
  set_.metrics().Hedged();
  Transmit(one, target, tensors);
}

void RoutedCall::OnCancel() {
  Tries out;
  {
    MutexLock lock(&mutex_);
    if (finished_) return;
    cancelled_ = true;
    out = Out();
    // As long as the call is not finished the router is there; from here on the gate keeps it.
    if (out.empty() || !surroundings_.channels.Enter()) return;
  }
  CancelTries(out);
  surroundings_.channels.Leave();
}

void RoutedCall::TakeBack(const Tries& losers, bool outrun, absl::Time now) {
  for (const Try& one : losers) {
    const absl::Duration took = now - one.sent;
    if (outrun) one.replica->Learn(now, took, Blame::kOutrun);
    if (outrun && one.index == 0) set_.hedging().Learn(took, now);
    if (one.span_id != 0 && context_->Records(took)) {
      AddSpans(one, PeerHeader(), absl::CancelledError("another replica answered first"), now);
    }
  }
  // Who ends the router closes the gate and then cancels all there is.
  if (!surroundings_.channels.Enter()) return;
  CancelTries(losers);
  surroundings_.channels.Leave();
}

void RoutedCall::CancelTries(const Tries& tries) {
  for (const Try& one : tries) {
    // One that is still on its way out is cancelled by Transmit().
    if (one.has_id) one.replica->endpoint().channel()->Cancel(one.call_id);
  }
}

absl::Status RoutedCall::Explain(const Try& last, const absl::Status& status) {
  std::string earlier;
  size_t tries;
  {
    MutexLock lock(&mutex_);
    earlier = earlier_;
    tries = tries_.size();
  }
  const std::string nth = tries == 1 ? "" : absl::StrCat(", try ", last.index + 1);
  return FromInnerHop(absl::StrCat("portal to '", set_.target().name, "' at ", last.replica->endpoint().url(), nth),
                      absl::Status(status.code(), absl::StrCat(status.message(), earlier)));
}

void RoutedCall::AddSpans(const Try& one, const PeerHeader& reply, const absl::Status& status, absl::Time now) {
  Span portal;
  portal.span_id = one.span_id;
  portal.parent_span_id = context_->trace.parent_span_id;
  portal.name = absl::StrCat("portal ", set_.target().name);
  if (one.index > 0) absl::StrAppend(&portal.name, ", try ", one.index + 1, one.hedge ? " (hedge)" : "");
  portal.start = one.sent;
  portal.duration = now - one.sent;
  portal.error = ErrorName(status);
  portal.attributes.push_back({"endpoint", one.replica->endpoint().url()});
  AddPortalSpans(std::move(portal), reply.spans, context_->spans);
}

void RoutedCall::Finish(absl::StatusOr<PeerMessage> result) {
  Tensors kept;  // Dropped outside the lock.
  {
    MutexLock lock(&mutex_);
    finished_ = true;
    kept = std::move(kept_);
    kept_.clear();
  }
  if (in_queue_) set_.hedging().queue().Remove(*this);
  if (in_window_) set_.window().Leave();
  set_.metrics().Ended(result.status().code(), surroundings_.clock.Now() - start_);
  context_->cancel_waiters.Remove(*this);
  Router::Done done = std::move(done_);
  done(std::move(result));
}

}  // namespace portico
