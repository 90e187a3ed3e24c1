#include "node/frontend/peer_frontend.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"

namespace portico {
namespace {

Ref<const RequestContext> ContextOf(const PeerHeader& header, const Clock& clock) {
  auto context = MakeRef<RequestContext>();
  if (header.timeout_us > 0) {
    // A remaining time beyond a day says nothing; the cap keeps the arithmetic in range.
    const uint64_t timeout_us = std::min<uint64_t>(header.timeout_us, uint64_t{86'400'000'000});
    context->deadline = Deadline::In(absl::Microseconds(static_cast<int64_t>(timeout_us)), clock);
  }
  context->trace = {header.trace_id_high, header.trace_id_low, header.parent_span_id, header.sampled};
  context->tenant = std::string(header.tenant);
  context->product = std::string(header.product);
  context->priority = header.priority;
  context->revision = header.revision;
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

/// One call in hand: turns the outputs into the reply.
struct PeerFrontend::Call {
  PeerFrontend& frontend;
  PeerReply reply;
  Ref<const RequestContext> context;
  std::shared_ptr<const Servable> servable;
  const Signature& signature;
  std::pair<uint64_t, uint64_t> key;
  bool by_name;

  void Finish(absl::StatusOr<std::vector<Tensor>> outputs) {
    frontend.Forget(key);
    PeerHeader header;
    header.code = static_cast<uint32_t>(outputs.status().code());
    header.message = outputs.status().message();
    const std::vector<Span> spans = context->trace.sampled ? context->spans.Take() : std::vector<Span>();
    for (const Span& span : spans) {
      WireSpan wire;
      wire.span_id = span.span_id;
      wire.parent_span_id = span.parent_span_id;
      wire.name = span.name;
      wire.node = span.node.empty() ? absl::string_view(frontend.inference_.node_name()) : absl::string_view(span.node);
      wire.start_us = absl::ToUnixMicros(span.start);
      wire.duration_ns = static_cast<uint64_t>(absl::ToInt64Nanoseconds(span.duration));
      header.spans.push_back(wire);
    }
    if (!outputs.ok()) return reply(header, {});
    if (by_name) {
      for (const TensorSpec& spec : signature.outputs) {
        TensorMeta meta;
        meta.name = spec.name;
        header.tensors.push_back(meta);
      }
    }
    reply(header, *outputs);
  }
};

void PeerFrontend::OnCall(PeerMessage call, PeerReply reply) {
  const absl::StatusOr<ServableRef> ref = RefOf(call.header);
  if (!ref.ok()) return ReplyError(reply, ref.status());
  absl::StatusOr<std::shared_ptr<const Servable>> servable = inference_.servables().Resolve(*ref);
  if (!servable.ok()) return ReplyError(reply, servable.status());
  const Signature* signature = (*servable)->FindSignature(call.header.signature);
  if (signature == nullptr) {
    return ReplyError(reply, absl::InvalidArgumentError(
                                 absl::StrCat("No signature was found with the name: ", call.header.signature)));
  }
  const bool by_name = !call.header.tensors.empty() && !call.header.tensors[0].name.empty();
  absl::StatusOr<std::vector<Tensor>> inputs = InputsOf(call, *signature, by_name || ref->digest.empty());
  if (!inputs.ok()) return ReplyError(reply, inputs.status());

  Ref<const RequestContext> context = ContextOf(call.header, inference_.clock());
  const std::pair<uint64_t, uint64_t> key(call.connection, call.header.call_id);
  {
    MutexLock lock(&mutex_);
    calls_[key] = context;
  }
  const std::shared_ptr<const Servable> running = *std::move(servable);
  auto state = std::make_unique<Call>(
      Call{*this, std::move(reply), context, running, *signature, key, by_name || ref->digest.empty()});
  inference_.Run(
      RequestApi::kPeer, running, *signature, std::move(context), *std::move(inputs),
      [state = std::move(state)](absl::StatusOr<std::vector<Tensor>> outputs) { state->Finish(std::move(outputs)); });
}

void PeerFrontend::OnCancel(uint64_t connection, uint64_t call_id) {
  Ref<const RequestContext> context;
  {
    MutexLock lock(&mutex_);
    const auto it = calls_.find({connection, call_id});
    if (it == calls_.end()) return;
    context = it->second;
  }
  context->cancelled.store(true, std::memory_order_relaxed);
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
