#include "remote_op/embedding_call.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "remote_op/add_up.h"
#include "remote_op/lookup_merge.h"
#include "remote_op/share_keys.h"
#include "remote_op/unknown_id.h"

namespace portico {
namespace {

/// Sets that rows are put into are fetched so far ahead.
constexpr uint32_t kKeptAhead = 8;

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

std::vector<uint32_t> NumbersOf(const EmbeddingSpec& spec, const std::string& group, LiveTables& tables) {
  std::vector<uint32_t> numbers;
  for (const EmbeddingSpec::Lookup& lookup : spec.lookups) numbers.push_back(tables.NumberOf(group, lookup.table));
  return numbers;
}

std::vector<std::atomic<RowType>*> RowTypesOf(const EmbeddingSpec& spec, const std::string& group, LiveTables& tables) {
  std::vector<std::atomic<RowType>*> types;
  for (const EmbeddingSpec::Lookup& lookup : spec.lookups) types.push_back(&tables.RowTypeOf(group, lookup.table));
  return types;
}

/// Ids that a share of a plan asks for, those that come as rows alone or all.
uint64_t IdsOf(const LookupPlan& plan, const LookupPlan::Share& share, bool all) {
  uint64_t ids = 0;
  for (const LookupPlan::Entry& entry : share.entries) {
    if (all || plan.parts()[entry.lookup].form == LookupForm::kRows) ids += entry.ids;
  }
  return ids;
}

}  // namespace

EmbeddingPlace::EmbeddingPlace(const PortalSpec& portal, Router& r)
    : router(r),
      context(absl::StrCat("portal '", portal.node_name, "' to tables '", portal.target, "'")),
      spec(*portal.embedding),
      routes(portal.target),
      check(portal.target, AnswerSpecs(), true),
      metrics(r.metrics(), portal.node_name, portal.target),
      kept_turns(spec.lookups.size()),
      expiring_origins(spec.lookups.size()),
      table_numbers(NumbersOf(spec, portal.target, r.tables())),
      row_types(RowTypesOf(spec, portal.target, r.tables())),
      fallback(portal, r) {}

std::vector<KeptUse> EmbeddingPlace::KeptUses(const LiveTables::Group& group) {
  std::vector<KeptUse> uses;
  uses.reserve(kept_turns.size());
  for (size_t i = 0; i < kept_turns.size(); ++i) {
    const uint64_t expiring = expiring_origins[i].load(std::memory_order_relaxed);
    const bool expire = expiring != 0 && absl::c_linear_search(group.origins, expiring);
    uses.push_back(expire ? KeptUse::kNone : kept_turns[i].Next());
  }
  return uses;
}

void EmbeddingPlace::Learn(size_t lookup, RowType type) {
  // Written by few, read by all.
  std::atomic<RowType>& known = *row_types[lookup];
  if (known.load(std::memory_order_relaxed) != type) known.store(type, std::memory_order_relaxed);
}

void EmbeddingPlace::LearnExpiry(size_t lookup, bool lasts, uint64_t origin) {
  if (origin == 0) return;
  std::atomic<uint64_t>& known = expiring_origins[lookup];
  const uint64_t before = known.load(std::memory_order_relaxed);
  if (lasts && before == origin) known.store(0, std::memory_order_relaxed);
  if (!lasts && before != origin) known.store(origin, std::memory_order_relaxed);
}

std::vector<RowType> EmbeddingPlace::RowTypes() const {
  std::vector<RowType> types;
  types.reserve(row_types.size());
  for (const std::atomic<RowType>* type : row_types) types.push_back(type->load(std::memory_order_relaxed));
  return types;
}

EmbeddingCall::EmbeddingCall(Ref<EmbeddingPlace> place, Ref<const RequestContext> context, OpDone done)
    : place_(std::move(place)),
      // NewFallback() makes no others for a portal of tables.
      fallback_(static_cast<const TableFallback*>(place_->fallback.Get())),
      context_(std::move(context)),
      done_(std::move(done)) {}

void EmbeddingCall::Start(const ShardRoutes& routes, LiveTables::Found found, absl::Span<const Tensor> inputs) {
  routes_ = &routes;
  group_ = std::move(found.group);
  const auto pinned = [](uint64_t origin) { return origin != 0; };
  if (found.exact && absl::c_any_of(group_->origins, pinned)) cache_ = group_->cache.get();
  if (group_->cache == nullptr) place_->metrics.Kept(0, 0);
  KeptRows kept;
  std::vector<KeptUse> uses;
  if (cache_ != nullptr) {
    uses = place_->KeptUses(*group_);
    kept = {cache_, group_->origins, place_->table_numbers, uses};
  }
  absl::StatusOr<LookupPlan> plan = LookupPlan::Make(place_->spec, routes, place_->RowTypes(), inputs, kept);
  if (!plan.ok()) return EndWith(plan.status());
  plan_ = *std::move(plan);
  place_->metrics.Planned(plan_.counts());
  if (cache_ != nullptr) NoteKept(uses);
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

void EmbeddingCall::NoteKept(absl::Span<const KeptUse> uses) const {
  for (size_t i = 0; i < uses.size(); ++i) {
    const LookupPlan::Part& part = plan_.parts()[i];
    if (part.looked && uses[i] == KeptUse::kLook) place_->kept_turns[i].Looked(part.form == LookupForm::kRows);
  }
  place_->metrics.Kept(cache_->bytes(), cache_->TakeEvictions());
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
  if (!answer.ok()) {
    answer = AsAsked(answer.status(), place_->spec, plan_, plan_.shares()[share], routes_->shards());
    const absl::Status may = MayStandIn(share, answer.status());
    if (!may.ok()) return EndWith(may);
  }
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
    if (cache_ != nullptr && !sums) place_->LearnExpiry(entry.lookup, got.lasts, group_->origins[asked.shard]);
  }
  place_->metrics.Answered(bytes[0], bytes[1], unknown);
  return answer;
}

absl::Status EmbeddingCall::MayStandIn(size_t share, const absl::Status& why) {
  if (fallback_ == nullptr || !MayFallBack(why, *context_, place_->router.clock())) return why;
  const uint64_t bytes = ShardStandIn::BytesFor(place_->spec, plan_, plan_.shares()[share]);
  const uint64_t all = stand_in_bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (all <= LookupPlan::kMaxAnswerBytes) return absl::OkStatus();
  return absl::Status(why.code(), absl::StrCat(why.message(), "; on_error: got ", all,
                                               " bytes of numbers that would stand in, want no more than ",
                                               LookupPlan::kMaxAnswerBytes, "; send fewer rows at once"));
}

absl::StatusOr<ShardStandIn> EmbeddingCall::StandInFor(size_t share, const absl::Status& why, absl::Time now) const {
  const LookupPlan::Share& gone = plan_.shares()[share];
  const std::vector<RowType> types = place_->RowTypes();
  ShardStandIn::Kept kept;
  // Of any version: whether the request's own is known does not matter.
  kept.cache = group_->cache.get();
  kept.tables = place_->table_numbers;
  kept.row_types = types;
  kept.shards = routes_->shards();
  if (cache_ != nullptr) kept.origin = group_->origins[gone.shard];
  kept.now = now;
  absl::StatusOr<ShardStandIn> made = ShardStandIn::Make(place_->spec, plan_, gone, *fallback_, kept);
  if (made.ok()) return made;
  return absl::Status(why.code(), absl::StrCat(why.message(), "; last_known: ", made.status().message()));
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
  uint64_t numbers = plan_.numbers() + stand_in_bytes_.load(std::memory_order_relaxed) / sizeof(float);
  for (size_t share = 0; share < calls.size(); ++share) {
    if (!calls[share].answer.has_value()) numbers += kNumbersARow * IdsOf(plan_, plan_.shares()[share], true);
  }
  const absl::Time now = place_->router.clock().Now();
  Executor* const workers = place_->router.workers();
  // A worker keeps them itself.
  Executor* const keepers = numbers < kNumbersInPlace ? workers : nullptr;
  AddUp(workers, numbers, context_,
        [self = Ref<EmbeddingCall>(this), calls = std::move(calls), now, keepers](const absl::Status& status) mutable {
          self->Merge(status, std::move(calls), now, keepers);
        });
}

absl::Status EmbeddingCall::StandIn(absl::Span<Call> calls, absl::Time now) const {
  for (size_t share = 0; share < calls.size(); ++share) {
    if (calls[share].answer.has_value()) continue;
    ASSIGN_OR_RETURN(calls[share].stand_in, StandInFor(share, calls[share].why, now));
  }
  for (size_t share = 0; share < calls.size(); ++share) {
    if (calls[share].stand_in.has_value()) Note(share, calls[share]);
  }
  return absl::OkStatus();
}

void EmbeddingCall::Merge(const absl::Status& status, std::vector<Call> calls, absl::Time now, Executor* keepers) {
  const absl::Status ready = status.ok() ? StandIn(absl::MakeSpan(calls), now) : status;
  if (!ready.ok()) return std::exchange(done_, nullptr)(WithContext(place_->context, ready));
  std::vector<const ShardAnswer*> answers;
  std::vector<const ShardStandIn*> stand_ins;
  for (const Call& call : calls) {
    answers.push_back(call.answer.has_value() ? &*call.answer : nullptr);
    stand_ins.push_back(call.stand_in.has_value() ? &*call.stand_in : nullptr);
  }
  absl::StatusOr<std::vector<Tensor>> outputs = MergeLookups(place_->spec, plan_, answers, stand_ins);
  if (!outputs.ok()) outputs = WithContext(place_->context, outputs.status());
  std::exchange(done_, nullptr)(std::move(outputs));
  if (cache_ == nullptr) return;
  uint64_t rows = 0;
  for (const LookupPlan::Share& share : plan_.shares()) rows += IdsOf(plan_, share, false);
  AddUp(keepers, kNumbersARow * rows, context_,
        [self = Ref<EmbeddingCall>(this), calls = std::move(calls), now](const absl::Status& going) {
          if (going.ok()) self->Keep(calls, now);
        });
}

void EmbeddingCall::Keep(absl::Span<const Call> calls, absl::Time now) const {
  const auto learned = static_cast<uint32_t>(absl::ToUnixSeconds(now));
  for (size_t i = 0; i < calls.size(); ++i) {
    const LookupPlan::Share& share = plan_.shares()[i];
    const uint64_t origin = group_->origins[share.shard];
    if (!calls[i].answer.has_value() || origin == 0) continue;
    const ShareKeys keys(place_->spec, share, routes_->shards(), place_->table_numbers);
    for (size_t e = 0; e < share.entries.size(); ++e) {
      const LookupPlan::Entry& entry = share.entries[e];
      if (plan_.parts()[entry.lookup].form != LookupForm::kRows) continue;
      const ShardAnswer::Entry& answer = calls[i].answer->entries[e];
      if (!answer.lasts) continue;
      const size_t bytes = EncodedBytes(answer.row_type, place_->spec.lookups[entry.lookup].dim);
      for (uint32_t row = 0; row < entry.ids; ++row) {
        if (row + kKeptAhead < entry.ids) (void)cache_->Locate(keys.At(e, row + kKeptAhead), answer.row_type, bytes);
        cache_->Put(keys.At(e, row), origin, answer.row_type, bytes, answer.rows + row * bytes, learned);
      }
    }
  }
}

void EmbeddingCall::Note(size_t share, const Call& call) const {
  const LookupPlan::Share& gone = plan_.shares()[share];
  const RouteTarget& target = routes_->target(gone.shard);
  const auto note = [&](absl::string_view kind, std::vector<bool> ShardStandIn::Entry::*which,
                        const absl::Status& why) {
    uint64_t bags = 0;
    context_->row_notes.Add(target.servable.name, kind, why, TouchedRows(plan_, gone, *call.stand_in, which, &bags));
    context_->fallbacks.Add(place_->routes.group(), kind);
    place_->router.CountFallback(target, kind);
    place_->metrics.Touched(bags, kind);
  };
  if (call.stand_in->any_known) {
    note(TableFallback::kLastKnown, &ShardStandIn::Entry::known,
         absl::Status(call.why.code(),
                      absl::StrCat("rows as they were up to ",
                                   absl::FormatDuration(absl::Trunc(call.stand_in->age, absl::Seconds(1))),
                                   " ago: ", call.why.message())));
  }
  if (call.stand_in->any_defaulted) note(TableFallback::kDefaults, &ShardStandIn::Entry::defaulted, call.why);
}

}  // namespace portico
