#include "remote_op/embedding_call.h"

#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "remote_op/lookup_merge.h"

namespace portico {
namespace {

/// What every shard answers, by name.
std::vector<TensorSpec> AnswerSpecs() {
  TensorSpec rows;
  rows.name = std::string(LookupCall::kOutputNames[LookupCall::kRows]);
  rows.dtype = DType::kUint8;
  rows.dims = {Dim()};
  TensorSpec found;
  found.name = std::string(LookupCall::kOutputNames[LookupCall::kFound]);
  found.dtype = DType::kInt64;
  found.dims = {Dim(), Dim{LookupCall::kFoundColumns, ""}};
  return {rows, found};
}

}  // namespace

EmbeddingPlace::EmbeddingPlace(const PortalSpec& portal, Router& r)
    : router(r),
      context(absl::StrCat("portal '", portal.node_name, "' to tables '", portal.target, "'")),
      spec(*portal.embedding),
      routes(portal.target),
      check(portal.target, AnswerSpecs(), true),
      metrics(r.metrics(), portal.node_name, portal.target),
      row_types(spec.lookups.size()) {}

std::vector<RowType> EmbeddingPlace::RowTypes() const {
  std::vector<RowType> types;
  types.reserve(row_types.size());
  for (const std::atomic<RowType>& type : row_types) types.push_back(type.load(std::memory_order_relaxed));
  return types;
}

EmbeddingCall::EmbeddingCall(Ref<EmbeddingPlace> place, const TableDefaults* defaults,
                             Ref<const RequestContext> context, OpDone done)
    : place_(std::move(place)), defaults_(defaults), context_(std::move(context)), done_(std::move(done)) {}

void EmbeddingCall::Start(const ShardRoutes& routes, absl::Span<const Tensor> inputs) {
  routes_ = &routes;
  absl::StatusOr<LookupPlan> plan = LookupPlan::Make(place_->spec, routes, place_->RowTypes(), inputs);
  if (!plan.ok()) return EndWith(plan.status());
  plan_ = *std::move(plan);
  place_->metrics.Planned(plan_.counts());
  const size_t shares = plan_.shares().size();
  {
    MutexLock lock(&mutex_);
    calls_.resize(shares);
    out_ = shares;
  }
  // Nothing but empty bags.
  if (shares == 0) return Finish();
  for (size_t share = 0; share < shares; ++share) {
    {
      MutexLock lock(&mutex_);
      if (ended_) return;
    }
    Send(routes, share);
  }
}

void EmbeddingCall::Send(const ShardRoutes& routes, size_t share) {
  const LookupPlan::Share& what = plan_.shares()[share];
  const RouteTarget& target = routes.target(what.shard);
  Ref<CancelHook> hook =
      place_->router.Call(target, context_, what.tensors,
                          [self = Ref<EmbeddingCall>(this), share, &target](absl::StatusOr<PeerMessage> reply) {
                            self->OnReply(share, target, std::move(reply));
                          });
  if (!hook) return;
  {
    MutexLock lock(&mutex_);
    if (!ended_) {
      if (calls_[share].out) calls_[share].hook = std::move(hook);
      return;
    }
  }
  hook->OnCancel();
}

void EmbeddingCall::OnReply(size_t share, const RouteTarget& target, absl::StatusOr<PeerMessage> reply) {
  {
    MutexLock lock(&mutex_);
    if (ended_) return;
  }
  absl::StatusOr<ShardAnswer> answer = Take(share, target, std::move(reply));
  if (!answer.ok() && !MayStandIn(answer.status())) return EndWith(answer.status());
  bool last;
  Ref<CancelHook> hook;  // Dropped outside the lock.
  {
    MutexLock lock(&mutex_);
    if (ended_) return;
    Call& call = calls_[share];
    call.out = false;
    hook = std::move(call.hook);
    if (answer.ok()) {
      call.answer = *std::move(answer);
    } else {
      call.why = answer.status();
    }
    last = --out_ == 0;
    ended_ = last;
  }
  if (last) Finish();
}

absl::StatusOr<ShardAnswer> EmbeddingCall::Take(size_t share, const RouteTarget& target,
                                                absl::StatusOr<PeerMessage> reply) const {
  RETURN_IF_ERROR(reply.status());
  const LookupPlan::Share& asked = plan_.shares()[share];
  absl::StatusOr<std::vector<Tensor>> tensors = place_->check.Take(*std::move(reply));
  absl::StatusOr<ShardAnswer> answer =
      tensors.ok() ? ShardAnswer::Take(place_->spec, plan_, asked, *std::move(tensors)) : tensors.status();
  if (!answer.ok()) return WithContext(absl::StrCat("shard '", target.servable.name, "'"), answer.status());
  uint64_t bytes[2] = {0, 0}, unknown = 0;
  for (size_t i = 0; i < asked.entries.size(); ++i) {
    const LookupPlan::Entry& entry = asked.entries[i];
    const ShardAnswer::Entry& got = answer->entries[i];
    const size_t dim = place_->spec.lookups[entry.lookup].dim;
    const bool sums = plan_.parts()[entry.lookup].form == LookupForm::kSums;
    bytes[sums ? 0 : 1] += sums ? entry.bags * dim * sizeof(float) : entry.ids * EncodedBytes(got.row_type, dim);
    unknown += got.unknown;
    place_->Learn(entry.lookup, got.row_type);
  }
  place_->metrics.Answered(bytes[0], bytes[1], unknown);
  return answer;
}

bool EmbeddingCall::MayStandIn(const absl::Status& why) const {
  return defaults_ != nullptr && MayFallBack(why, *context_, place_->router.clock());
}

void EmbeddingCall::EndWith(const absl::Status& status) {
  absl::InlinedVector<Ref<CancelHook>, 8> late;
  {
    MutexLock lock(&mutex_);
    if (ended_) return;
    ended_ = true;
    for (Call& call : calls_) {
      if (call.hook) late.push_back(std::move(call.hook));
    }
  }
  for (const Ref<CancelHook>& call : late) call->OnCancel();
  std::exchange(done_, nullptr)(WithContext(place_->context, status));
}

void EmbeddingCall::Finish() {
  std::vector<Call> calls;
  {
    MutexLock lock(&mutex_);
    calls = std::move(calls_);
  }
  std::vector<const ShardAnswer*> answers;
  for (size_t share = 0; share < calls.size(); ++share) {
    answers.push_back(calls[share].answer.has_value() ? &*calls[share].answer : nullptr);
    if (answers.back() == nullptr) Note(share, calls[share].why);
  }
  const MissingRows missing = defaults_ == nullptr ? MissingRows() : defaults_->numbers();
  absl::StatusOr<std::vector<Tensor>> outputs = MergeLookups(place_->spec, plan_, answers, missing);
  if (!outputs.ok()) outputs = WithContext(place_->context, outputs.status());
  std::exchange(done_, nullptr)(std::move(outputs));
}

void EmbeddingCall::Note(size_t share, const absl::Status& why) const {
  const LookupPlan::Share& gone = plan_.shares()[share];
  const RouteTarget& target = routes_->target(gone.shard);
  uint64_t bags = 0;
  context_->row_notes.Add(target.servable.name, defaults_->kind(), why, TouchedRows(plan_, gone, &bags));
  context_->fallbacks.Add(place_->routes.group(), defaults_->kind());
  place_->router.CountFallback(target, defaults_->kind());
  place_->metrics.Touched(bags, defaults_->kind());
}

}  // namespace portico
