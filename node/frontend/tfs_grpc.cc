#include "node/frontend/tfs_grpc.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "grpcpp/grpcpp.h"
#include "node/frontend/model_metadata.h"
#include "node/frontend/request_trace.h"
#include "node/frontend/tfs_codec.h"
#include "tensorflow_serving/model_service.grpc.pb.h"
#include "tensorflow_serving/predict.grpc.pb.h"

namespace portico {
namespace {

namespace tfs = ::tensorflow::serving;

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // A message travels in a header; clients accept 8 KiB of them, and escapes may treble it.
  constexpr size_t kMaxMessage = 2048;
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message().substr(0, kMaxMessage))};
}

/// Keeps a received message alive for the tensors that view it.
class SliceOrigin final : public TensorOrigin {
 public:
  explicit SliceOrigin(grpc::Slice slice) : TensorOrigin(slice.size()), slice_(std::move(slice)) {}
  absl::string_view bytes() const { return {reinterpret_cast<const char*>(slice_.begin()), slice_.size()}; }

 private:
  const grpc::Slice slice_;
};

/// One slice as it is; several are joined, once.
absl::StatusOr<Ref<SliceOrigin>> OriginOf(const grpc::ByteBuffer& message) {
  grpc::Slice slice;
  if (!message.TrySingleSlice(&slice).ok() && !message.DumpToSingleSlice(&slice).ok()) {
    return absl::InvalidArgumentError("request: got no message");
  }
  return MakeRef<SliceOrigin>(std::move(slice));
}

/// A slice of the tensor's own memory.
grpc::Slice SliceOf(Tensor tensor) {
  auto* held = new Tensor(std::move(tensor));
  return {const_cast<char*>(held->bytes().data()), held->bytes().size(),
          [](void* user_data) { delete static_cast<Tensor*>(user_data); }, held};
}

grpc::ByteBuffer BufferOf(SplicedMessage message) {
  const grpc::Slice bytes(message.bytes);
  if (message.splices.empty()) return {&bytes, 1};
  std::vector<grpc::Slice> slices;
  slices.reserve(2 * message.splices.size() + 1);
  size_t at = 0;
  for (SplicedMessage::Splice& splice : message.splices) {
    slices.push_back(bytes.sub(at, splice.at));
    slices.push_back(SliceOf(std::move(splice.tensor)));
    at = splice.at;
  }
  slices.push_back(bytes.sub(at, bytes.size()));
  return {slices.data(), slices.size()};
}

ModelSpecView ViewOf(const tfs::ModelSpec& spec) {
  ModelSpecView view;
  view.name = spec.name();
  view.has_version = spec.version_choice_case() == tfs::ModelSpec::kVersion;
  view.version = spec.version().value();
  if (spec.version_choice_case() == tfs::ModelSpec::kVersionLabel) view.label = spec.version_label();
  view.signature = spec.signature_name();
  return view;
}

absl::StatusOr<ServableRef> RefOf(bool has_spec, const ModelSpecView& spec) {
  if (!has_spec) return absl::InvalidArgumentError("Missing ModelSpec");
  return RefOfModelSpec(spec);
}

/// What the frontend's calls share.
struct Shared {
  const TfsGrpcFrontend::Options options;
  Inference& inference;
  TraceRing& traces;
};

/// One Predict: Start (read, resolve, run) → OnOutputs (write, finish). gRPC calls OnDone last, whatever happened; it
/// frees the call.
class PredictCall final : public grpc::ServerUnaryReactor {
 public:
  PredictCall(const Shared& shared, grpc::CallbackServerContext& call, grpc::ByteBuffer& response)
      : shared_(shared), call_(call), response_(response) {}

  void Start(const grpc::ByteBuffer& request) {
    StartContext();
    absl::StatusOr<std::vector<Tensor>> inputs = Prepare(request);
    if (!inputs.ok()) return Complete(inputs.status());
    // Both outlive the run: the servable is held by this call, too.
    const Signature& signature = *signature_;
    shared_.inference.Run(RequestApi::kTfsGrpc, servable_, signature, context_, *std::move(inputs),
                          [this](absl::StatusOr<std::vector<Tensor>> outputs) { OnOutputs(std::move(outputs)); });
  }

  void OnDone() override { delete this; }
  void OnCancel() override { context_->cancelled.store(true, std::memory_order_relaxed); }
  /// Both reactions above are trivial: running them in place spares every call a hop to another thread.
  bool InternalInlineable() override { return true; }

 private:
  void StartContext() {
    const Clock& clock = shared_.inference.clock();
    if (const auto deadline = call_.deadline(); deadline != std::chrono::system_clock::time_point::max()) {
      context_->deadline = Deadline::In(absl::FromChrono(deadline - std::chrono::system_clock::now()), clock);
    }
    const auto& metadata = call_.client_metadata();
    const auto traceparent = metadata.find("traceparent");
    if (traceparent == metadata.end()) return;
    trace_.Start({traceparent->second.data(), traceparent->second.size()}, clock, context_.get());
  }

  /// The inputs in the signature's order; sets servable, signature and outputs. In the order in which TensorFlow
  /// Serving finds faults: model, signature, inputs, outputs.
  absl::StatusOr<std::vector<Tensor>> Prepare(const grpc::ByteBuffer& message) {
    ASSIGN_OR_RETURN(const Ref<SliceOrigin> origin, OriginOf(message));
    ASSIGN_OR_RETURN(const PredictRequestView request, ReadPredictRequest(origin->bytes()));
    ASSIGN_OR_RETURN(const ServableRef ref, RefOf(request.has_spec, request.spec));
    ASSIGN_OR_RETURN(servable_, shared_.inference.servables().Resolve(ref));
    signature_ = servable_->FindSignature(request.spec.signature);
    if (signature_ == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat("Serving signature key \"", request.spec.signature, "\" not found."));
    }
    ASSIGN_OR_RETURN(std::vector<NamedTensor> named,
                     ReadPredictInputs(request, origin, static_cast<uint64_t>(shared_.options.max_message_bytes)));
    ASSIGN_OR_RETURN(std::vector<Tensor> inputs, OrderInputs(*signature_, std::move(named)));
    ASSIGN_OR_RETURN(selected_, SelectOutputs(*signature_, request.output_filter));
    return inputs;
  }

  void OnOutputs(absl::StatusOr<std::vector<Tensor>> outputs) {
    if (!outputs.ok()) return Complete(outputs.status());
    absl::StatusOr<SplicedMessage> message =
        WritePredictResponse(servable_->name(), servable_->version(), *signature_, selected_, *outputs);
    if (!message.ok()) return Complete(message.status());
    grpc::ByteBuffer buffer = BufferOf(*std::move(message));
    response_.Swap(&buffer);
    Complete(absl::OkStatus());
  }

  void Complete(const absl::Status& status) {
    const std::string traceparent =
        trace_.Finish(shared_.inference.node_name(), shared_.inference.clock(), *context_, shared_.traces);
    if (!traceparent.empty()) call_.AddTrailingMetadata("traceparent", traceparent);
    Finish(ToGrpc(status));  // From here on this call may be gone.
  }

  const Shared& shared_;
  grpc::CallbackServerContext& call_;
  grpc::ByteBuffer& response_;
  Ref<RequestContext> context_ = MakeRef<RequestContext>();
  RequestTrace trace_;
  std::shared_ptr<const Servable> servable_;
  const Signature* signature_ = nullptr;
  absl::InlinedVector<int, 8> selected_;
};

using PredictionBase = tfs::PredictionService::WithRawCallbackMethod_Predict<
    tfs::PredictionService::WithCallbackMethod_GetModelMetadata<tfs::PredictionService::Service>>;

class PredictionService final : public PredictionBase {
 public:
  explicit PredictionService(const Shared& shared) : shared_(shared) {}

  grpc::ServerUnaryReactor* Predict(grpc::CallbackServerContext* call, const grpc::ByteBuffer* request,
                                    grpc::ByteBuffer* response) override {
    auto* predict = new PredictCall(shared_, *call, *response);
    predict->Start(*request);
    return predict;
  }

  grpc::ServerUnaryReactor* GetModelMetadata(grpc::CallbackServerContext* call,
                                             const tfs::GetModelMetadataRequest* request,
                                             tfs::GetModelMetadataResponse* response) override {
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    reactor->Finish(ToGrpc(Metadata(*request, response)));
    return reactor;
  }

 private:
  absl::Status Metadata(const tfs::GetModelMetadataRequest& request, tfs::GetModelMetadataResponse* response) const {
    ASSIGN_OR_RETURN(const ServableRef ref, RefOf(request.has_model_spec(), ViewOf(request.model_spec())));
    if (request.metadata_field().empty()) {
      return absl::InvalidArgumentError("GetModelMetadataRequest must specify at least one metadata_field");
    }
    for (const std::string& field : request.metadata_field()) {
      if (field != "signature_def") {
        return absl::InvalidArgumentError(absl::StrCat("Metadata field ", field, " is not supported"));
      }
    }
    ASSIGN_OR_RETURN(const auto servable, shared_.inference.servables().Resolve(ref));
    response->mutable_model_spec()->set_name(servable->name());
    response->mutable_model_spec()->mutable_version()->set_value(servable->version());
    tfs::SignatureDefMap map;
    FillSignatureDefs(servable->signatures(), &map);
    (*response->mutable_metadata())["signature_def"].PackFrom(map);
    return absl::OkStatus();
  }

  const Shared& shared_;
};

class ModelService final : public tfs::ModelService::CallbackService {
 public:
  explicit ModelService(const Shared& shared) : shared_(shared) {}

  grpc::ServerUnaryReactor* GetModelStatus(grpc::CallbackServerContext* call, const tfs::GetModelStatusRequest* request,
                                           tfs::GetModelStatusResponse* response) override {
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    reactor->Finish(ToGrpc(ModelStatus(*request, response)));
    return reactor;
  }

 private:
  absl::Status ModelStatus(const tfs::GetModelStatusRequest& request, tfs::GetModelStatusResponse* response) const {
    const ModelSpecView spec = ViewOf(request.model_spec());
    ASSIGN_OR_RETURN(const ServableRef ref, RefOf(request.has_model_spec(), spec));
    ASSIGN_OR_RETURN(const auto versions, shared_.inference.servables().Status(ref));
    for (const Servables::VersionStatus& version : versions) {
      tfs::ModelVersionStatus& out = *response->add_model_version_status();
      out.set_version(version.version);
      out.set_state(static_cast<tfs::ModelVersionStatus::State>(version.state));
      out.mutable_status()->set_error_code(static_cast<int>(version.status.code()));
      out.mutable_status()->set_error_message(std::string(version.status.message()));
    }
    return absl::OkStatus();
  }

  const Shared& shared_;
};

class TfsGrpcServer final : public TfsGrpcFrontend {
 public:
  TfsGrpcServer(Options options, Inference& inference, TraceRing& traces)
      : shared_{std::move(options), inference, traces}, prediction_(shared_), models_(shared_) {}
  ~TfsGrpcServer() override { Stop(absl::ZeroDuration()); }

  absl::Status Listen() {
    const std::string& wanted = shared_.options.address;
    const size_t colon = wanted.rfind(':');
    if (colon == std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat("gRPC address '", wanted, "': got no port, want HOST:PORT"));
    }
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort(wanted, grpc::InsecureServerCredentials(), &port);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.SetMaxReceiveMessageSize(shared_.options.max_message_bytes);
    builder.SetMaxSendMessageSize(shared_.options.max_message_bytes);
    builder.RegisterService(&prediction_);
    builder.RegisterService(&models_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) {
      return absl::UnavailableError(
          absl::StrCat("gRPC address '", wanted, "': cannot listen there; choose a free port of this machine"));
    }
    address_ = absl::StrCat(wanted.substr(0, colon), ":", port);
    return absl::OkStatus();
  }

  const std::string& address() const override { return address_; }

  void Stop(absl::Duration timeout) override {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(timeout));
    server_.reset();
  }

 private:
  const Shared shared_;
  PredictionService prediction_;
  ModelService models_;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TfsGrpcFrontend>> TfsGrpcFrontend::Start(Options options, Inference& inference,
                                                                        TraceRing& traces) {
  auto server = std::make_unique<TfsGrpcServer>(std::move(options), inference, traces);
  RETURN_IF_ERROR(server->Listen());
  return server;
}

}  // namespace portico
