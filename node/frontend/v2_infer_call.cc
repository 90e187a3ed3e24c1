#include "node/frontend/v2_infer_call.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "node/frontend/tfs_codec.h"

namespace portico {

void V2InferCall::Start(absl::FunctionRef<absl::string_view(absl::string_view)> header, Deadline deadline,
                        const grpc::ByteBuffer& message) {
  absl::StatusOr<ServableRef> ref = Read(header, deadline, message);
  if (!ref.ok()) return Complete(ref.status());
  inference_.servables().Acquire(
      *ref, entry_.context(),
      [this](absl::StatusOr<std::shared_ptr<const Servable>> servable) { OnServable(std::move(servable)); });
}

absl::StatusOr<ServableRef> V2InferCall::Read(absl::FunctionRef<absl::string_view(absl::string_view)> header,
                                              Deadline deadline, const grpc::ByteBuffer& message) {
  RETURN_IF_ERROR(entry_.Start(header, deadline));
  ASSIGN_OR_RETURN(received_, ReceiveMessage(message));
  const absl::Status read = ReadV2InferRequest(received_.bytes, &request_);
  id_ = std::string(request_.id);
  RETURN_IF_ERROR(read);
  RETURN_IF_ERROR(request_.parameters.ApplyTo(inference_.clock(), entry_.context().get()));
  return RefOfV2(request_.model, request_.version);
}

void V2InferCall::OnServable(absl::StatusOr<std::shared_ptr<const Servable>> servable) {
  if (!servable.ok()) return Complete(servable.status());
  servable_ = *std::move(servable);
  absl::StatusOr<std::vector<Tensor>> inputs = Prepare();
  if (!inputs.ok()) return Complete(inputs.status());
  inference_.Run(RequestApi::kV2Grpc, servable_, *signature_, entry_.context(), *std::move(inputs),
                 [this](absl::StatusOr<std::vector<Tensor>> outputs) { Complete(Write(outputs)); });
}

absl::StatusOr<std::vector<Tensor>> V2InferCall::Prepare() {
  ASSIGN_OR_RETURN(signature_, FindV2Signature(*servable_, request_.parameters.signature));
  ASSIGN_OR_RETURN(std::vector<NamedTensor> named, ReadV2Inputs(request_, received_.origin, max_bytes_));
  ASSIGN_OR_RETURN(std::vector<Tensor> inputs, OrderInputs(*signature_, std::move(named)));
  ASSIGN_OR_RETURN(selected_, SelectOutputs(*signature_, request_.outputs));
  received_ = {};  // Tensors keep what they view.
  return inputs;
}

absl::StatusOr<SplicedMessage> V2InferCall::Write(const absl::StatusOr<std::vector<Tensor>>& outputs) const {
  RETURN_IF_ERROR(outputs.status());
  const std::string fallbacks = Fallbacks(), rows = NotedRows();
  return WriteV2InferResponse({servable_->name(), servable_->version(), id_, fallbacks, rows}, *signature_, selected_,
                              *outputs);
}

void V2InferCall::Complete(absl::StatusOr<SplicedMessage> response) {
  const std::string traceparent = entry_.Finish(response.status());
  Deliver(std::move(response), traceparent);  // From here on this call may be gone.
}

absl::StatusOr<const Signature*> FindV2Signature(const Servable& servable, absl::string_view name) {
  const Signature* const signature = servable.FindSignature(name);
  if (signature != nullptr) return signature;
  // The API knows no signatures: of a shard there is one, which has a name of its own.
  if (name.empty() && servable.signatures().size() == 1) return &servable.signatures()[0];
  return absl::InvalidArgumentError(absl::StrCat("parameter 'signature': model '", servable.name(),
                                                 "' has no signature '", name.substr(0, 256), "'"));
}

}  // namespace portico
