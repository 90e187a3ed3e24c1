#include "cli/tfs_client.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "codec/tensor_proto.h"
#include "codec/tf_dtype.h"
#include "grpcpp/grpcpp.h"
#include "tensorflow_serving/predict.grpc.pb.h"

namespace portico {
namespace {

namespace tfs = tensorflow::serving;

/// Replies are the server's to bound; a tensor that is decoded here is at most this.
constexpr uint64_t kMaxTensorBytes = uint64_t{2} << 30;

/// Keeps a reply's bytes for the tensor that views them.
class ReplyBytes final : public TensorOrigin {
 public:
  explicit ReplyBytes(std::string bytes) : TensorOrigin(bytes.size()), bytes_(std::move(bytes)) {}
  absl::string_view view() const { return bytes_; }

 private:
  const std::string bytes_;
};

absl::StatusOr<tensorflow::TensorProto> ToProto(const NamedTensor& named) {
  ASSIGN_OR_RETURN(const EncodedTensor encoded, EncodeTensorProto(named.tensor));
  tensorflow::TensorProto proto;
  if (!proto.ParseFromString(absl::StrCat(encoded.head, encoded.content.bytes()))) {
    return absl::InternalError(absl::StrCat("input '", named.name, "': can't be encoded"));
  }
  return proto;
}

absl::StatusOr<Tensor> FromProto(const std::string& name, const tensorflow::TensorProto& proto) {
  const auto bytes = MakeRef<ReplyBytes>(proto.SerializeAsString());
  absl::StatusOr<Tensor> tensor = ReadTensorProto(bytes->view(), bytes, kMaxTensorBytes);
  if (!tensor.ok()) return WithContext(absl::StrCat("output '", name, "'"), tensor.status());
  return tensor->Aligned();
}

TensorSpec ToSpec(const std::string& name, const tensorflow::TensorInfo& info) {
  TensorSpec spec;
  spec.name = name;
  spec.graph_name = info.name();
  spec.dtype = DTypeFromTf(info.dtype()).value_or(DType::kInvalid);
  spec.has_rank = !info.tensor_shape().unknown_rank();
  for (const auto& dim : info.tensor_shape().dim()) spec.dims.push_back({.extent = dim.size(), .symbol = dim.name()});
  return spec;
}

std::vector<TensorSpec> ToSpecs(const google::protobuf::Map<std::string, tensorflow::TensorInfo>& infos) {
  std::vector<TensorSpec> specs;
  for (const auto& [name, info] : infos) specs.push_back(ToSpec(name, info));
  std::sort(specs.begin(), specs.end(), [](const TensorSpec& a, const TensorSpec& b) { return a.name < b.name; });
  return specs;
}

void Prepare(const TfsClient::CallOptions& options, const std::string& authorization, grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(absl::Now() + options.timeout));
  if (!authorization.empty()) context->AddMetadata("authorization", authorization);
  if (options.trace.sampled) context->AddMetadata("traceparent", FormatTraceparent(options.trace));
}

absl::Status FromGrpc(const std::string& address, const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      absl::StrCat("gRPC at '", address, "': ", status.error_message()));
}

}  // namespace

struct TfsClient::Stubs {
  std::unique_ptr<tfs::PredictionService::Stub> prediction;
};

/// Keeps the generated class out of the header.
struct TfsClient::Sent {
  const tfs::PredictRequest& request;
};

TfsClient::TfsClient(const std::string& address, const ClientSecurity& security)
    : address_(address),
      authorization_(security.token.empty() ? "" : absl::StrCat("Bearer ", security.token)),
      stubs_(std::make_unique<Stubs>()) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  // A proxy of the surroundings is for the web, not for nodes.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (!security.server_name.empty()) arguments.SetSslTargetNameOverride(security.server_name);
  const std::shared_ptr<grpc::ChannelCredentials> credentials =
      security.tls ? grpc::SslCredentials({security.roots, security.private_key, security.certificates})
                   : grpc::InsecureChannelCredentials();
  stubs_->prediction = tfs::PredictionService::NewStub(grpc::CreateCustomChannel(address, credentials, arguments));
}

TfsClient::~TfsClient() = default;

absl::StatusOr<TfsClient::Prediction> TfsClient::Predict(const std::string& model, const std::string& signature,
                                                         absl::Span<const NamedTensor> inputs,
                                                         const CallOptions& options) {
  tfs::PredictRequest request;
  request.mutable_model_spec()->set_name(model);
  request.mutable_model_spec()->set_signature_name(signature);
  for (const NamedTensor& input : inputs) {
    ASSIGN_OR_RETURN((*request.mutable_inputs())[input.name], ToProto(input));
  }
  return Send({request}, options);
}

absl::StatusOr<TfsClient::Prediction> TfsClient::PredictSerialized(absl::string_view bytes, const Overrides& overrides,
                                                                   const CallOptions& options) {
  tfs::PredictRequest request;
  if (bytes.size() > std::numeric_limits<int>::max() ||
      !request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::InvalidArgumentError("request: got bytes that are no PredictRequest");
  }
  if (!overrides.model.empty()) request.mutable_model_spec()->set_name(overrides.model);
  if (overrides.version != 0) request.mutable_model_spec()->mutable_version()->set_value(overrides.version);
  return Send({request}, options);
}

absl::StatusOr<TfsClient::Prediction> TfsClient::Send(const Sent& sent, const CallOptions& options) {
  tfs::PredictResponse response;
  grpc::ClientContext context;
  Prepare(options, authorization_, &context);
  RETURN_IF_ERROR(FromGrpc(address_, stubs_->prediction->Predict(&context, sent.request, &response)));

  Prediction prediction;
  prediction.version = response.model_spec().version().value();
  for (const auto& [name, proto] : response.outputs()) {
    ASSIGN_OR_RETURN(Tensor tensor, FromProto(name, proto));
    prediction.outputs.push_back({name, std::move(tensor)});
  }
  std::sort(prediction.outputs.begin(), prediction.outputs.end(),
            [](const NamedTensor& a, const NamedTensor& b) { return a.name < b.name; });
  return prediction;
}

absl::StatusOr<Signature> TfsClient::FetchSignature(const std::string& model, const std::string& signature,
                                                    const CallOptions& options) {
  tfs::GetModelMetadataRequest request;
  request.mutable_model_spec()->set_name(model);
  request.add_metadata_field("signature_def");
  tfs::GetModelMetadataResponse response;
  grpc::ClientContext context;
  Prepare(options, authorization_, &context);
  RETURN_IF_ERROR(FromGrpc(address_, stubs_->prediction->GetModelMetadata(&context, request, &response)));

  tfs::SignatureDefMap signatures;
  const auto packed = response.metadata().find("signature_def");
  if (packed == response.metadata().end() || !packed->second.UnpackTo(&signatures)) {
    return absl::InternalError(
        absl::StrCat("model '", model, "': got metadata without signatures from '", address_, "'"));
  }
  const auto found = signatures.signature_def().find(signature.empty() ? std::string(kDefaultSignature) : signature);
  if (found == signatures.signature_def().end()) {
    std::vector<std::string> names;
    for (const auto& [name, unused] : signatures.signature_def()) names.push_back(name);
    std::sort(names.begin(), names.end());
    return absl::InvalidArgumentError(absl::StrCat("model '", model, "': got signature '", signature, "', want one of ",
                                                   absl::StrJoin(names, ", "), "; name one by --signature"));
  }
  return Signature{found->first, ToSpecs(found->second.inputs()), ToSpecs(found->second.outputs())};
}

}  // namespace portico
