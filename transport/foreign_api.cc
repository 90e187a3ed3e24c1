#include "transport/foreign_api.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace portico {

std::unique_ptr<ForeignApi> NewForeignApi(ForeignEndpoint::Api api) {
  // The table of foreign APIs: one line each.
  switch (api) {
    case ForeignEndpoint::Api::kTfs:
      return NewTfsForeignApi();
    case ForeignEndpoint::Api::kV2:
      return NewV2ForeignApi();
  }
  return nullptr;
}

absl::Status CheckForeignCall(const PeerHeader& header, absl::Span<const Tensor> tensors) {
  if (!header.digest.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("servable '", header.servable,
                                                   "': got a digest, which a foreign server knows nothing of, want a "
                                                   "portal without one"));
  }
  if (header.tensors.size() != tensors.size()) {
    return absl::InvalidArgumentError(absl::StrCat("servable '", header.servable, "': got ", header.tensors.size(),
                                                   " names for ", tensors.size(),
                                                   " inputs, want one each: a foreign server knows tensors by name"));
  }
  return absl::OkStatus();
}

absl::Status AddForeignOutput(absl::string_view name, absl::StatusOr<Tensor> tensor, const PeerLimits& limits,
                              PeerMessage* reply) {
  if (!tensor.ok()) {
    return absl::InternalError(absl::StrCat("the server's output '", name, "': ", tensor.status().message()));
  }
  if (reply->tensors.size() == limits.max_tensors) {
    return absl::InternalError(
        absl::StrCat("the server's response: got over ", limits.max_tensors, " outputs, want at most that"));
  }
  if (tensor->shape().size() > limits.max_rank || tensor->bytes().size() > limits.max_frame_bytes) {
    return absl::InternalError(absl::StrCat("the server's output '", name, "': got rank ", tensor->shape().size(),
                                            " and ", tensor->bytes().size(), " bytes, want at most ", limits.max_rank,
                                            " and ", limits.max_frame_bytes));
  }
  TensorMeta& meta = reply->header.tensors.emplace_back();
  meta.name = name;
  meta.dtype = tensor->dtype();
  meta.shape = tensor->shape();
  meta.bytes = tensor->bytes().size();
  reply->tensors.push_back(*std::move(tensor));
  return absl::OkStatus();
}

}  // namespace portico
