#include "remote_op/experts_call.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "base/rows.h"
#include "base/status_macros.h"
#include "remote_op/add_up.h"
#include "remote_op/weighted_rows.h"
#include "transport/wire_row_notes.h"

namespace portico {
namespace {

using OnExpertError = ExpertsSpec::OnExpertError;
using OnRowError = ExpertsSpec::OnRowError;

/// Gates that one request's entropy is taken of.
constexpr int64_t kMaxEntropyGates = 16384;
/// Larger outputs would rather be an error than an answer.
constexpr uint64_t kMaxOutputBytes = uint64_t{1} << 30;

/// What row_status says.
constexpr int8_t kFewer = 1;
constexpr int8_t kNone = 2;

absl::Span<const float> GatesOf(const Tensor& gate) { return gate.data<float>(); }

std::vector<int64_t> RowsOf(const ExpertChoice::Part& part, int k) {
  std::vector<int64_t> rows;
  rows.reserve(part.slots.size());
  for (const int32_t slot : part.slots) rows.push_back(slot / k);
  return rows;
}

absl::Status NoRoom() {
  return absl::ResourceExhaustedError("capacity: got no expert with room for the row, want one; raise capacity");
}

}  // namespace

ExpertsCall::ExpertsCall(Ref<const ExpertsPlan> plan, Ref<const RequestContext> context, std::vector<Tensor> inputs,
                         OpDone done)
    : plan_(std::move(plan)),
      context_(std::move(context)),
      done_(std::move(done)),
      gate_(inputs[0].Aligned()),
      inputs_(std::make_move_iterator(inputs.begin() + 1), std::make_move_iterator(inputs.end())),
      choice_(plan_->rule, GatesOf(gate_)) {}

void ExpertsCall::Start() {
  const ExpertsSpec& spec = plan_->spec;
  const int64_t max_rows = std::max<int64_t>(1, kMaxEntropyGates / plan_->rule.experts);
  const double entropy = MeanGateEntropy(plan_->rule, GatesOf(gate_), max_rows);
  plan_->metrics.Came(choice_.rows(), choice_.overflowed(), entropy);
  if (plan_->watcher != nullptr) plan_->watcher->Came(choice_.rows(), entropy);
  if (choice_.faulty() > 0 && spec.on_row_error == OnRowError::kFail) {
    int64_t row = 0;
    while (choice_.fault(row) == ExpertChoice::Fault::kNone) ++row;
    return EndWith(absl::InvalidArgumentError(absl::StrCat("row ", row, ": ", FaultText(choice_.fault(row)))));
  }
  const bool early = spec.k_min < spec.k;
  {
    MutexLock lock(&mutex_);
    const auto slots = static_cast<size_t>(choice_.rows() * choice_.k());
    state_.answered.resize(slots);
    state_.places.resize(slots);
    impatient_ = early && spec.k_min_after == absl::ZeroDuration();
  }
  const absl::Time sent = plan_->router.clock().Now();
  std::vector<ExpertChoice::Part> parts = choice_.Parts();
  if (plan_->watcher != nullptr) {
    // What the gate chose: not who takes over from an expert that fails.
    for (const ExpertChoice::Part& part : parts) {
      plan_->watcher->Sent(part.expert, static_cast<int64_t>(part.slots.size()));
    }
  }
  Drive(std::move(parts));
  if (!early || spec.k_min_after == absl::ZeroDuration()) return;
  {
    MutexLock lock(&mutex_);
    if (ended_) return;
  }
  plan_->router.timer().ScheduleAt(sent + spec.k_min_after, [self = Ref<ExpertsCall>(this)] { self->OnTime(); });
}

void ExpertsCall::Drive(std::vector<ExpertChoice::Part> parts) {
  const bool refill = plan_->spec.on_expert_error == OnExpertError::kNext;
  while (true) {
    size_t first;
    {
      MutexLock lock(&mutex_);
      if (ended_) return;
      first = Enter(parts);
    }
    for (size_t i = 0; i < parts.size(); ++i) Send(parts[i], first + i);
    Hooks useless;
    {
      MutexLock lock(&mutex_);
      if (ended_) return;
      driving_ = !failed_.empty();
      if (!driving_) break;
      const std::vector<int32_t> failed = std::exchange(failed_, {});
      parts = choice_.Replace(failed, refill, state_.answered);
      useless = GiveUp(failed);
    }
    for (const Ref<CancelHook>& call : useless) call->OnCancel();
  }
  EndIfComplete();
}

ExpertsCall::Hooks ExpertsCall::GiveUp(absl::Span<const int32_t> failed) {
  Hooks hooks;
  for (Call& call : state_.calls) {
    if (!call.out || !absl::c_linear_search(failed, call.part.expert)) continue;
    call.out = false;
    --out_;
    if (call.hook) hooks.push_back(std::move(call.hook));
  }
  return hooks;
}

size_t ExpertsCall::Enter(const std::vector<ExpertChoice::Part>& parts) {
  const size_t first = state_.calls.size();
  for (const ExpertChoice::Part& part : parts) {
    const auto call = static_cast<int32_t>(state_.calls.size());
    for (size_t i = 0; i < part.slots.size(); ++i) {
      state_.places[static_cast<size_t>(part.slots[i])] = {call, static_cast<int32_t>(i)};
    }
    state_.calls.push_back({part, true, nullptr, {}});
  }
  out_ += static_cast<int>(parts.size());
  return first;
}

void ExpertsCall::Send(const ExpertChoice::Part& part, size_t call) {
  const std::vector<int64_t> rows = RowsOf(part, choice_.k());
  absl::InlinedVector<Tensor, 4> sent;
  for (const Tensor& input : inputs_) sent.push_back(TakeRows(input, rows));
  plan_->metrics.Sent(part.expert, static_cast<int64_t>(rows.size()));
  Ref<CancelHook> hook = plan_->router.Call(plan_->experts[static_cast<size_t>(part.expert)].target, context_, sent,
                                            [self = Ref<ExpertsCall>(this), call](absl::StatusOr<PeerMessage> reply) {
                                              self->OnReply(call, std::move(reply));
                                            });
  if (!hook) return;
  {
    MutexLock lock(&mutex_);
    if (!ended_) {
      if (state_.calls[call].out) state_.calls[call].hook = std::move(hook);
      return;
    }
  }
  hook->OnCancel();
}

void ExpertsCall::OnReply(size_t call, absl::StatusOr<PeerMessage> reply) {
  ExpertChoice::Part part;
  {
    MutexLock lock(&mutex_);
    if (ended_ || !state_.calls[call].out) return;
    part = state_.calls[call].part;
  }
  absl::StatusOr<Answer> answer = Take(part, std::move(reply));
  if (!answer.ok() && Hopeless()) return EndWith(answer.status());
  bool drive;
  Ref<CancelHook> hook;  // Dropped outside the lock.
  {
    MutexLock lock(&mutex_);
    if (ended_ || !state_.calls[call].out) return;
    state_.calls[call].out = false;
    hook = std::move(state_.calls[call].hook);
    --out_;
    if (answer.ok()) {
      Keep(call, *std::move(answer));
    } else {
      Fail(call, answer.status());
    }
    drive = !driving_ && !failed_.empty();
    driving_ = driving_ || drive;
  }
  if (!drive) return EndIfComplete();
  Drive({});
}

absl::StatusOr<ExpertsCall::Answer> ExpertsCall::Take(const ExpertChoice::Part& part,
                                                      absl::StatusOr<PeerMessage> reply) const {
  RETURN_IF_ERROR(reply.status());
  const ExpertsPlan::Expert& expert = plan_->experts[static_cast<size_t>(part.expert)];
  Answer answer;
  absl::StatusOr<std::vector<RowNote>> notes = RowNotesOf(reply->header);
  if (!notes.ok()) {
    return FromInnerHop(absl::StrCat("portal to '", expert.target.servable.name, "'"), notes.status());
  }
  answer.notes = *std::move(notes);
  ASSIGN_OR_RETURN(answer.outputs, expert.check.Take(*std::move(reply)));
  const auto rows = static_cast<int64_t>(part.slots.size());
  for (size_t i = 0; i < answer.outputs.size(); ++i) {
    Tensor& output = answer.outputs[i];
    if (output.shape().empty() || output.rows() != rows) {
      return absl::InternalError(absl::StrCat("portal to '", expert.target.servable.name, "': output '",
                                              plan_->outputs[i].name, "': got ", DTypeName(output.dtype()),
                                              ShapeString(output.shape()), ", want ", rows,
                                              " rows, one for each that was sent"));
    }
    output = output.Aligned();
  }
  return answer;
}

void ExpertsCall::Keep(size_t call, Answer answer) {
  Call& own = state_.calls[call];
  own.outputs = std::move(answer.outputs);
  for (const int32_t slot : own.part.slots) state_.answered[static_cast<size_t>(slot)] = true;
  if (answer.notes.empty()) return;
  const std::vector<int64_t> rows = RowsOf(own.part, choice_.k());
  for (RowNote& note : answer.notes) {
    note.rows = RangesWithin(rows, note.rows);
    if (note.kind != RowNotes::kMark) {
      context_->row_notes.Add(std::move(note));
      continue;
    }
    // What stands in these rows is no answer.
    Failure failure{own.part.expert, note.why, {}};
    auto range = note.rows.begin();
    for (size_t i = 0; i < rows.size(); ++i) {
      while (range != note.rows.end() && range->first + range->count <= rows[i]) ++range;
      if (range == note.rows.end() || rows[i] < range->first) continue;
      state_.answered[static_cast<size_t>(own.part.slots[i])] = false;
      failure.rows.push_back(rows[i]);
    }
    state_.failures.push_back(std::move(failure));
  }
}

void ExpertsCall::Fail(size_t call, const absl::Status& why) {
  const ExpertChoice::Part& part = state_.calls[call].part;
  failed_.push_back(part.expert);
  state_.failures.push_back({part.expert, why, RowsOf(part, choice_.k())});
  if (plan_->spec.on_expert_error != OnExpertError::kFail) return;
  state_.lost.resize(static_cast<size_t>(choice_.rows()));
  for (const int64_t row : state_.failures.back().rows) state_.lost[static_cast<size_t>(row)] = true;
}

void ExpertsCall::OnTime() {
  {
    MutexLock lock(&mutex_);
    impatient_ = true;
  }
  EndIfComplete();
}

bool ExpertsCall::Hopeless() const {
  const ExpertsSpec& spec = plan_->spec;
  return context_->cancelled.load(std::memory_order_relaxed) || context_->deadline.Expired(plan_->router.clock()) ||
         (spec.on_expert_error == OnExpertError::kFail && spec.on_row_error == OnRowError::kFail);
}

bool ExpertsCall::Complete() {
  if (out_ == 0) return true;
  if (!impatient_) return false;
  // The row that was short of answers when this was asked last mostly still is.
  for (int64_t i = 0; i < choice_.rows(); ++i, ++short_row_) {
    if (short_row_ >= choice_.rows()) short_row_ = 0;
    if (IsShort(short_row_)) return false;
  }
  return true;
}

bool ExpertsCall::IsShort(int64_t row) const {
  const absl::Span<const int32_t> experts = choice_.ExpertsOf(row);
  int there = 0, wanted = 0;
  for (size_t i = 0; i < experts.size(); ++i) {
    wanted += experts[i] != ExpertChoice::kNone;
    there += state_.answered[static_cast<size_t>(row) * experts.size() + i];
  }
  return there < std::min(wanted, plan_->spec.k_min);
}

ExpertsCall::Hooks ExpertsCall::End() {
  ended_ = true;
  Hooks hooks;
  for (Call& call : state_.calls) {
    if (call.hook) hooks.push_back(std::move(call.hook));
  }
  return hooks;
}

void ExpertsCall::EndWith(absl::Status status) {
  Hooks late;
  {
    MutexLock lock(&mutex_);
    if (ended_) return;
    late = End();
  }
  for (const Ref<CancelHook>& call : late) call->OnCancel();
  std::exchange(done_, nullptr)(WithContext(plan_->context, status));
}

void ExpertsCall::EndIfComplete() {
  State state;
  Hooks late;
  {
    MutexLock lock(&mutex_);
    if (ended_ || driving_ || !Complete()) return;
    late = End();
    state = std::move(state_);
  }
  for (const Ref<CancelHook>& call : late) call->OnCancel();
  inputs_.clear();
  uint64_t numbers = 0;
  for (const Call& call : state.calls) {
    for (const Tensor& output : call.outputs) numbers += output.num_elements();
  }
  AddUp(plan_->router.workers(), numbers, context_,
        [self = Ref<ExpertsCall>(this), state = std::move(state)](const absl::Status& status) {
          if (!status.ok()) return std::exchange(self->done_, nullptr)(WithContext(self->plan_->context, status));
          std::exchange(self->done_, nullptr)(self->Combine(state));
        });
}

absl::StatusOr<std::vector<Tensor>> ExpertsCall::Combine(const State& state) const {
  const int64_t rows = choice_.rows();
  const size_t count = plan_->outputs.size();
  std::vector<Tensor> outputs;
  std::vector<size_t> widths;
  for (size_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(Shape shape, ShapeOf(i, state));
    ASSIGN_OR_RETURN(const uint64_t elements, NumElements(shape));
    if (elements > kMaxOutputBytes / sizeof(float)) {
      return absl::ResourceExhaustedError(absl::StrCat(plan_->context, ": output '", plan_->outputs[i].name,
                                                       "': got float32", ShapeString(shape), ", want at most ",
                                                       kMaxOutputBytes, " bytes; send fewer rows at once"));
    }
    widths.push_back(rows == 0 ? 0 : static_cast<size_t>(elements) / static_cast<size_t>(rows));
    outputs.push_back(Tensor::Allocate(DType::kFloat, std::move(shape)));
  }
  // Of each call's outputs.
  std::vector<const float*> answers_at;
  for (const Call& call : state.calls) {
    for (size_t o = 0; o < count; ++o) {
      answers_at.push_back(call.outputs.empty() ? nullptr : call.outputs[o].data<float>().data());
    }
  }
  std::vector<int8_t> statuses(static_cast<size_t>(rows));
  int32_t slots[ExpertsSpec::kMaxK];
  float weights[ExpertsSpec::kMaxK];
  for (int64_t row = 0; row < rows; ++row) {
    const bool lost = !state.lost.empty() && state.lost[static_cast<size_t>(row)];
    const int answers = lost ? 0 : choice_.Weigh(row, state.answered, slots, weights);
    statuses[static_cast<size_t>(row)] = answers == 0 ? kNone : answers < choice_.k() ? kFewer : int8_t{0};
    for (size_t o = 0; o < count; ++o) {
      float* const to = reinterpret_cast<float*>(outputs[o].mutable_bytes()) + static_cast<size_t>(row) * widths[o];
      if (answers == 0) std::fill_n(to, widths[o], std::numeric_limits<float>::quiet_NaN());
      for (int i = 0; i < answers; ++i) {
        const Place place = state.places[static_cast<size_t>(slots[i])];
        const float* const from =
            answers_at[static_cast<size_t>(place.call) * count + o] + static_cast<size_t>(place.row) * widths[o];
        (i == 0 ? SetWeighted : AddWeighted)(to, from, weights[i], widths[o]);
      }
    }
  }
  RETURN_IF_ERROR(Account(state, statuses));
  if (plan_->spec.row_status) outputs.push_back(Tensor::Of<int8_t>({rows}, statuses));
  return outputs;
}

absl::StatusOr<Shape> ExpertsCall::ShapeOf(size_t index, const State& state) const {
  const TensorSpec& declared = plan_->outputs[index];
  const Call* first = nullptr;
  for (const Call& call : state.calls) {
    if (call.outputs.empty()) continue;
    if (first == nullptr) first = &call;
    const absl::Span<const int64_t> one = first->outputs[index].shape(), other = call.outputs[index].shape();
    if (one.subspan(1) == other.subspan(1)) continue;
    const auto name = [&](const Call& of) {
      return plan_->experts[static_cast<size_t>(of.part.expert)].target.servable.name;
    };
    return absl::InternalError(absl::StrCat(plan_->context, ": output '", declared.name, "': got float32",
                                            ShapeString(one), " of expert '", name(*first), "' and float32",
                                            ShapeString(other), " of expert '", name(call),
                                            "', want rows of one shape, which can be added up"));
  }
  Shape shape;
  if (first != nullptr) {
    shape = first->outputs[index].shape();
  } else {
    shape.push_back(0);
    bool known = declared.has_rank;
    for (size_t d = 1; d < declared.dims.size(); ++d) {
      known = known && declared.dims[d].extent >= 0;
      shape.push_back(std::max<int64_t>(0, declared.dims[d].extent));
    }
    // Nothing to stand in for an answer can be made.
    if (!known && choice_.rows() > 0) {
      return WithContext(absl::StrCat(plan_->context, ": output '", declared.name, "': got no answer to any row, want ",
                                      declared.ToString()),
                         WhyNone(0, state));
    }
  }
  shape[0] = choice_.rows();
  return shape;
}

absl::Status ExpertsCall::Account(const State& state, absl::Span<const int8_t> statuses) const {
  const auto failed = std::count(statuses.begin(), statuses.end(), kNone);
  const auto fewer = std::count(statuses.begin(), statuses.end(), kFewer);
  if (fewer + failed > 0) plan_->metrics.Ended(fewer, failed);
  if (failed > 0 && plan_->spec.on_row_error == OnRowError::kFail) {
    const int64_t row = std::find(statuses.begin(), statuses.end(), kNone) - statuses.begin();
    return WithContext(absl::StrCat(plan_->context, ": row ", row), WhyNone(row, state));
  }
  if (fewer + failed > 0 || !state.failures.empty()) Note(state, statuses);
  return absl::OkStatus();
}

/// Those whose gates name fewer than k experts are as they should be.
void ExpertsCall::Note(const State& state, absl::Span<const int8_t> statuses) const {
  constexpr absl::string_view kKinds[] = {"next", "fewer", RowNotes::kMark};
  std::vector<int64_t> rows;
  const auto add = [&](absl::string_view portal, int8_t status, const absl::Status& why) {
    context_->row_notes.Add(portal, kKinds[status], why, rows);
    rows.clear();
  };
  for (const auto fault :
       {ExpertChoice::Fault::kNotFinite, ExpertChoice::Fault::kNegative, ExpertChoice::Fault::kNothing}) {
    if (choice_.faulty() == 0) break;
    for (int64_t row = 0; row < choice_.rows(); ++row) {
      if (choice_.fault(row) == fault) rows.push_back(row);
    }
    add(plan_->name, kNone, absl::InvalidArgumentError(FaultText(fault)));
  }
  for (int8_t status = 0; status <= kNone; ++status) {
    const auto keep = [&](int64_t row) {
      if (statuses[static_cast<size_t>(row)] == status) rows.push_back(row);
    };
    for (const Failure& failure : state.failures) {
      for (const int64_t row : failure.rows) keep(row);
      add(plan_->experts[static_cast<size_t>(failure.expert)].target.servable.name, status, failure.why);
    }
    if (status == 0) continue;
    for (const int64_t row : choice_.crowded()) keep(row);
    add(plan_->name, status, NoRoom());
    for (const Call& call : state.calls) {
      if (!call.out) continue;
      for (const int32_t slot : call.part.slots) {
        if (!state.answered[static_cast<size_t>(slot)]) keep(slot / choice_.k());
      }
      add(plan_->experts[static_cast<size_t>(call.part.expert)].target.servable.name, status,
          absl::DeadlineExceededError("k_min answers were there, and the time to wait for more was over"));
    }
  }
}

absl::Status ExpertsCall::WhyNone(int64_t row, const State& state) const {
  if (choice_.fault(row) != ExpertChoice::Fault::kNone) {
    return absl::InvalidArgumentError(FaultText(choice_.fault(row)));
  }
  for (const Failure& failure : state.failures) {
    if (std::binary_search(failure.rows.begin(), failure.rows.end(), row)) return failure.why;
  }
  return NoRoom();
}

}  // namespace portico
