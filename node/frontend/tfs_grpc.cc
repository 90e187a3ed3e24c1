#include "node/frontend/tfs_grpc.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "grpcpp/grpcpp.h"
#include "node/frontend/grpc_message.h"
#include "node/frontend/model_metadata.h"
#include "node/frontend/tfs_codec.h"
#include "tensorflow_serving/model_service.grpc.pb.h"
#include "tensorflow_serving/predict.grpc.pb.h"

namespace portico {
namespace {

namespace tfs = ::tensorflow::serving;

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
  const Entrance& entrance;
};

/// One Predict: Start (read, acquire) → OnServable (inputs, run) → OnOutputs (write, finish). gRPC calls OnDone last,
/// whatever happened; it frees the call.
class PredictCall final : public grpc::ServerUnaryReactor {
 public:
  PredictCall(const Shared& shared, grpc::CallbackServerContext& call, grpc::ByteBuffer& response)
      : shared_(shared), call_(call), response_(response), entry_(shared.entrance) {}

  void Start(const grpc::ByteBuffer& message) {
    absl::StatusOr<ServableRef> ref = Read(message);
    if (!ref.ok()) return Complete(ref.status());
    shared_.entrance.inference.servables().Acquire(
        *ref, entry_.context(),
        [this](absl::StatusOr<std::shared_ptr<const Servable>> servable) { OnServable(std::move(servable)); });
  }

  void OnDone() override { delete this; }
  void OnCancel() override { entry_.Cancel(); }
  /// Both reactions above are trivial: running them in place spares every call a hop to another thread.
  bool InternalInlineable() override { return true; }

 private:
  absl::StatusOr<ServableRef> Read(const grpc::ByteBuffer& message) {
    const auto& metadata = call_.client_metadata();
    const auto header = [&](absl::string_view name) -> absl::string_view {
      const auto found = metadata.find(grpc::string_ref(name.data(), name.size()));
      return found == metadata.end() ? absl::string_view()
                                     : absl::string_view(found->second.data(), found->second.size());
    };
    Deadline deadline;
    if (const auto at = call_.deadline(); at != std::chrono::system_clock::time_point::max()) {
      deadline =
          Deadline::In(absl::FromChrono(at - std::chrono::system_clock::now()), shared_.entrance.inference.clock());
    }
    RETURN_IF_ERROR(entry_.Start(header, deadline));
    ASSIGN_OR_RETURN(received_, ReceiveMessage(message));
    ASSIGN_OR_RETURN(request_, ReadPredictRequest(received_.bytes));
    return RefOf(request_.has_spec, request_.spec);
  }

  void OnServable(absl::StatusOr<std::shared_ptr<const Servable>> servable) {
    if (!servable.ok()) return Complete(servable.status());
    servable_ = *std::move(servable);
    absl::StatusOr<std::vector<Tensor>> inputs = Prepare();
    if (!inputs.ok()) return Complete(inputs.status());
    // Both outlive the run: the servable is held by this call, too.
    const Signature& signature = *signature_;
    shared_.entrance.inference.Run(
        RequestApi::kTfsGrpc, servable_, signature, entry_.context(), *std::move(inputs),
        [this](absl::StatusOr<std::vector<Tensor>> outputs) { OnOutputs(std::move(outputs)); });
  }

  /// The inputs in the signature's order; sets signature and outputs. In the order in which TensorFlow Serving finds
  /// faults: signature, inputs, outputs.
  absl::StatusOr<std::vector<Tensor>> Prepare() {
    signature_ = servable_->FindSignature(request_.spec.signature);
    if (signature_ == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat("Serving signature key \"", request_.spec.signature, "\" not found."));
    }
    ASSIGN_OR_RETURN(std::vector<NamedTensor> named,
                     ReadPredictInputs(request_, received_.origin, shared_.options.max_tensor_bytes));
    ASSIGN_OR_RETURN(std::vector<Tensor> inputs, OrderInputs(*signature_, std::move(named)));
    ASSIGN_OR_RETURN(selected_, SelectOutputs(*signature_, request_.output_filter));
    received_ = {};  // Tensors keep what they view.
    return inputs;
  }

  void OnOutputs(absl::StatusOr<std::vector<Tensor>> outputs) {
    if (!outputs.ok()) return Complete(outputs.status());
    absl::StatusOr<SplicedMessage> message =
        WritePredictResponse(servable_->name(), servable_->version(), *signature_, selected_, *outputs);
    if (!message.ok()) return Complete(message.status());
    SendMessage(*std::move(message), &response_);
    Complete(absl::OkStatus());
  }

  void Complete(const absl::Status& status) {
    const std::string traceparent = entry_.Finish();
    if (!traceparent.empty()) call_.AddTrailingMetadata("traceparent", traceparent);
    Finish(ToGrpc(status));  // From here on this call may be gone.
  }

  const Shared& shared_;
  grpc::CallbackServerContext& call_;
  grpc::ByteBuffer& response_;
  RequestEntry entry_;
  ReceivedMessage received_;
  PredictRequestView request_;
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
    ASSIGN_OR_RETURN(const auto servable, shared_.entrance.inference.servables().Resolve(ref));
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
    ASSIGN_OR_RETURN(const auto versions, shared_.entrance.inference.servables().Status(ref));
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

class Frontend final : public TfsGrpcFrontend {
 public:
  Frontend(Options options, const Entrance& entrance)
      : shared_{options, entrance}, prediction_(shared_), models_(shared_) {}

  std::vector<grpc::Service*> services() override { return {&prediction_, &models_}; }

 private:
  const Shared shared_;
  PredictionService prediction_;
  ModelService models_;
};

}  // namespace

std::unique_ptr<TfsGrpcFrontend> TfsGrpcFrontend::Create(Options options, const Entrance& entrance) {
  return std::make_unique<Frontend>(options, entrance);
}

}  // namespace portico
