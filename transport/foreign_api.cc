#include "transport/foreign_api.h"

#include <deque>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {

namespace {

/// Keeps the names of a reply's tensors, and what it was read from.
class ReplyNames final : public TensorOrigin {
 public:
  explicit ReplyNames(Ref<TensorOrigin> message) : TensorOrigin(0), message_(std::move(message)) {}
  absl::string_view Add(std::string name) { return names_.emplace_back(std::move(name)); }

 private:
  const Ref<TensorOrigin> message_;
  std::deque<std::string> names_;
};

}  // namespace

std::unique_ptr<ForeignApi> NewForeignApi(const ForeignEndpoint& endpoint) {
  const bool rest = endpoint.wire == ForeignEndpoint::Wire::kRest;
  // The table of foreign APIs: one line each.
  switch (endpoint.api) {
    case ForeignEndpoint::Api::kTfs:
      return rest ? NewTfsRestApi() : NewTfsForeignApi();
    case ForeignEndpoint::Api::kV2:
      return rest ? NewV2RestApi() : NewV2ForeignApi();
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

absl::Status AddForeignOutputs(std::vector<NamedTensor> outputs, const PeerLimits& limits, PeerMessage* reply) {
  auto names = MakeRef<ReplyNames>(std::move(reply->origin));
  for (NamedTensor& output : outputs) {
    RETURN_IF_ERROR(AddForeignOutput(names->Add(std::move(output.name)), std::move(output.tensor), limits, reply));
  }
  reply->origin = std::move(names);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> ReadTfsProbeError(const std::string& model, const absl::Status& status) {
  const absl::StatusCode code = status.code();
  const bool there = code == absl::StatusCode::kNotFound || code == absl::StatusCode::kInvalidArgument;
  if ((model.empty() && there) || code == absl::StatusCode::kUnimplemented) return 0;
  return status;
}

absl::StatusOr<int64_t> ReadTfsProbeVersion(const std::string& model, int64_t newest) {
  if (newest >= 0) return newest;
  return absl::UnavailableError(absl::StrCat("model '", model, "': got no version that is AVAILABLE, want one"));
}

absl::Status CheckNoSignature(const PeerHeader& header) {
  if (header.signature.empty() || header.signature == "serving_default") return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("servable '", header.servable, "': got signature '", header.signature,
                   "', which the Open Inference Protocol does not know, want 'serving_default'"));
}

std::string ForeignModelPath(absl::string_view prefix, absl::string_view name, int64_t version) {
  std::string path = absl::StrCat(prefix, "/");
  for (const char c : name) {
    if (absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~') {
      path.push_back(c);
    } else {
      absl::StrAppend(&path, "%", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    }
  }
  if (version >= 0) absl::StrAppend(&path, "/versions/", version);
  return path;
}

}  // namespace portico
