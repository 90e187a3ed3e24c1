#include "node/frontend/peer_frontend.h"

#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "transport/wire_row_notes.h"
#include "transport/wire_span.h"

namespace portico {
namespace {

Ref<const RequestContext> ContextOf(const PeerHeader& header, absl::Duration span_floor, const Clock& clock,
                                    const LiveRevisions* revisions) {
  auto context = MakeRef<RequestContext>();
  if (header.timeout_us > 0) {
    // A remaining time beyond a day says nothing; the cap keeps the arithmetic in range.
    const uint64_t timeout_us = std::min<uint64_t>(header.timeout_us, uint64_t{86'400'000'000});
    context->deadline = Deadline::In(absl::Microseconds(static_cast<int64_t>(timeout_us)), clock);
  }
  context->trace = {header.trace_id_high, header.trace_id_low, header.parent_span_id, header.sampled};
  if (header.trace_state.size() <= RequestContext::kMaxTraceState) {
    context->trace_state = std::string(header.trace_state);
  }
  context->span_floor = span_floor;
  context->entry_span_id = header.parent_span_id;
  if (context->MayRecord()) context->trace.parent_span_id = NewSpanId();
  context->key = header.key;
  context->draw = header.draw;
  context->shadow = header.shadow;
  context->tenant = std::string(header.tenant);
  if (header.product.size() <= RequestContext::kMaxProduct) context->product = std::string(header.product);
  context->priority = header.priority;
  context->revision = header.revision;
  if (header.revision == 0 && revisions != nullptr) {
    std::tie(context->revision, context->revision_hold) = revisions->Stamp();
    if (revisions->draws() && header.draw == 0) context->draw = NewSpanId();
  }
  context->hop = static_cast<int32_t>(std::min<uint32_t>(header.hop, RequestContext::kMaxHops + 1));
  context->attempt = static_cast<int32_t>(header.attempt);
  return context;
}

absl::StatusOr<ServableRef> RefOf(const PeerHeader& header) {
  ServableRef ref;
  ref.name = std::string(header.servable);
  ref.version = header.version;
  ASSIGN_OR_RETURN(ref.digest, Digest::FromBytes(header.digest));
  return ref;
}

/// Tensors of a call in the signature's order: by position where none has a name, else by name.
absl::StatusOr<std::vector<Tensor>> InputsOf(PeerMessage& call, const Signature& signature, bool by_name) {
  if (by_name) {
    std::vector<NamedTensor> named;
    named.reserve(call.tensors.size());
    for (size_t i = 0; i < call.tensors.size(); ++i) {
      named.push_back({std::string(call.header.tensors[i].name), std::move(call.tensors[i])});
    }
    return OrderInputs(signature, std::move(named));
  }
  if (call.tensors.size() != signature.inputs.size()) {
    return absl::InvalidArgumentError(absl::StrCat("call of signature '", signature.name, "': got ",
                                                   call.tensors.size(), " tensors, want ", signature.inputs.size()));
  }
  return std::move(call.tensors);
}

void ReplyError(PeerReply& reply, const absl::Status& status) {
  PeerHeader header;
  header.code = static_cast<uint32_t>(status.code());
  header.message = status.message();
  reply(header, {});
}

}  // namespace

/// One call in hand: OnServable (inputs, run) → Finish (reply). Owned by the completion.
struct PeerFrontend::Call {
  PeerFrontend& frontend;
  PeerMessage message;
  PeerReply reply;
  Ref<const RequestContext> context;
  std::pair<uint64_t, uint64_t> key;
  bool by_name = false;
  std::shared_ptr<const Servable> servable = nullptr;
  const Signature* signature = nullptr;

  static void OnServable(std::unique_ptr<Call> call, absl::StatusOr<std::shared_ptr<const Servable>> servable) {
    if (!servable.ok()) return call->Refuse(servable.status());
    call->servable = *std::move(servable);
    absl::StatusOr<std::vector<Tensor>> inputs = call->Inputs();
    if (!inputs.ok()) return call->Refuse(inputs.status());
    Inference& inference = call->frontend.inference_;
    std::shared_ptr<const Servable> running = call->servable;
    const Signature& signature = *call->signature;
    Ref<const RequestContext> context = call->context;
    inference.Run(
        RequestApi::kPeer, std::move(running), signature, std::move(context), *std::move(inputs),
        [call = std::move(call)](absl::StatusOr<std::vector<Tensor>> outputs) { call->Finish(std::move(outputs)); });
  }

  absl::StatusOr<std::vector<Tensor>> Inputs() {
    signature = servable->FindSignature(message.header.signature);
    if (signature == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("No signature was found with the name: ", message.header.signature));
    }
    by_name =
        message.header.digest.empty() || (!message.header.tensors.empty() && !message.header.tensors[0].name.empty());
    absl::StatusOr<std::vector<Tensor>> inputs = InputsOf(message, *signature, by_name);
    message = {};  // Tensors keep what they view.
    return inputs;
  }

  void Refuse(const absl::Status& status) {
    frontend.Forget(key);
    context->CountArm(status, absl::ZeroDuration());
    ReplyError(reply, status);
  }

  void Finish(absl::StatusOr<std::vector<Tensor>> outputs) {
    frontend.Forget(key);
    PeerHeader header;
    header.code = static_cast<uint32_t>(outputs.status().code());
    header.message = outputs.status().message();
    const std::vector<Span> spans = context->MayRecord() ? context->spans.Take() : std::vector<Span>();
    WireSpans wire_spans;
    wire_spans.Put(spans, frontend.inference_.node_name(), &header);
    if (!outputs.ok()) return reply(header, {});
    const std::vector<std::string> notes = context->fallbacks.Notes();
    header.notes.assign(notes.begin(), notes.end());
    const std::vector<RowNote> row_notes = context->row_notes.Notes();
    WireRowNotes wire_row_notes;
    wire_row_notes.Put(row_notes, &header);
    if (by_name) {
      for (const TensorSpec& spec : signature->outputs) {
        TensorMeta meta;
        meta.name = spec.name;
        header.tensors.push_back(meta);
      }
    }
    reply(header, *outputs);
  }
};

void PeerFrontend::OnCall(PeerMessage message, PeerReply reply) {
  const absl::StatusOr<ServableRef> ref = RefOf(message.header);
  if (!ref.ok()) return ReplyError(reply, ref.status());
  Ref<const RequestContext> context = ContextOf(message.header, span_floor_, inference_.clock(), revisions_);
  const std::pair<uint64_t, uint64_t> key(message.connection, message.header.call_id);
  {
    MutexLock lock(&mutex_);
    calls_[key] = context;
  }
  auto call = std::make_unique<Call>(Call{*this, std::move(message), std::move(reply), context, key});
  inference_.servables().Acquire(*ref, context, [call = std::move(call)](auto servable) mutable {
    Call::OnServable(std::move(call), std::move(servable));
  });
}

void PeerFrontend::OnCancel(uint64_t connection, uint64_t call_id) {
  Ref<const RequestContext> context;
  {
    MutexLock lock(&mutex_);
    const auto it = calls_.find({connection, call_id});
    if (it == calls_.end()) return;
    context = it->second;
  }
  context->Cancel();
}

void PeerFrontend::Forget(const std::pair<uint64_t, uint64_t>& key) {
  Ref<const RequestContext> context;  // Dropped outside the lock.
  MutexLock lock(&mutex_);
  const auto it = calls_.find(key);
  if (it == calls_.end()) return;
  context = std::move(it->second);
  calls_.erase(it);
}

}  // namespace portico
