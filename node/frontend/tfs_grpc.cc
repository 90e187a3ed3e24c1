#include "node/frontend/tfs_grpc.h"

#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "grpcpp/grpcpp.h"
#include "node/frontend/grpc_call.h"
#include "node/frontend/model_metadata.h"
#include "node/frontend/tfs_codec.h"
#include "node/frontend/tfs_example_calls.h"
#include "node/servables/model_server_config.h"
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

/// What the frontend's calls share.
struct Shared {
  const TfsGrpcFrontend::Options options;
  const Entrance& entrance;
};

/// One Predict: Start (read, acquire) → OnServable (inputs, run) → OnOutputs (write, finish).
class PredictCall final : public GrpcCall {
 public:
  PredictCall(const Shared& shared, grpc::CallbackServerContext& call, grpc::ByteBuffer& response)
      : GrpcCall(shared.entrance, call, response), max_tensor_bytes_(shared.options.max_tensor_bytes) {}

  void Start(const grpc::ByteBuffer& message) {
    absl::StatusOr<ServableRef> ref = Read(message);
    if (!ref.ok()) return Complete(ref.status());
    inference().servables().Acquire(*ref, context(), [this](absl::StatusOr<std::shared_ptr<const Servable>> servable) {
      OnServable(std::move(servable));
    });
  }

 private:
  absl::StatusOr<ServableRef> Read(const grpc::ByteBuffer& message) {
    RETURN_IF_ERROR(Enter(message));
    ASSIGN_OR_RETURN(request_, ReadPredictRequest(received_.bytes));
    return RefOfModelSpec(request_.has_spec, request_.spec);
  }

  void OnServable(absl::StatusOr<std::shared_ptr<const Servable>> servable) {
    if (!servable.ok()) return Complete(servable.status());
    servable_ = *std::move(servable);
    absl::StatusOr<std::vector<Tensor>> inputs = Prepare();
    if (!inputs.ok()) return Complete(inputs.status());
    // Both outlive the run: the servable is held by this call, too.
    const Signature& signature = *signature_;
    inference().Run(RequestApi::kTfsGrpc, servable_, signature, context(), *std::move(inputs),
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
    ASSIGN_OR_RETURN(std::vector<NamedTensor> named, ReadPredictInputs(request_, received_.origin, max_tensor_bytes_));
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
    Answer(*std::move(message));
  }

  const uint64_t max_tensor_bytes_;
  PredictRequestView request_;
  std::shared_ptr<const Servable> servable_;
  const Signature* signature_ = nullptr;
  absl::InlinedVector<int, 8> selected_;
};

/// Of a call without tensors: checks who calls, and answers with what `answer` fills in.
grpc::ServerUnaryReactor* AnswerNow(const Entrance& entrance, grpc::CallbackServerContext* call,
                                    absl::FunctionRef<absl::Status()> answer) {
  RequestEntry entry(entrance);
  absl::Status status = EnterCall(entrance, *call, &entry);
  if (status.ok()) status = answer();
  entry.Finish(status);
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

/// Calls with tensors are raw; the other one is not worth it.
template <typename Service>
using RawInference = tfs::PredictionService::WithRawCallbackMethod_Predict<
    tfs::PredictionService::WithRawCallbackMethod_Classify<tfs::PredictionService::WithRawCallbackMethod_Regress<
        tfs::PredictionService::WithRawCallbackMethod_MultiInference<Service>>>>;
using PredictionBase =
    RawInference<tfs::PredictionService::WithCallbackMethod_GetModelMetadata<tfs::PredictionService::Service>>;

class PredictionService final : public PredictionBase {
 public:
  explicit PredictionService(const Shared& shared) : shared_(shared) {}

  grpc::ServerUnaryReactor* Predict(grpc::CallbackServerContext* call, const grpc::ByteBuffer* request,
                                    grpc::ByteBuffer* response) override {
    auto* predict = new PredictCall(shared_, *call, *response);
    predict->Start(*request);
    return predict;
  }

  grpc::ServerUnaryReactor* Classify(grpc::CallbackServerContext* call, const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override {
    return StartResultCall(ResultKind::kClassify, shared_.entrance, shared_.options.max_tensor_bytes, *call, *request,
                           *response);
  }

  grpc::ServerUnaryReactor* Regress(grpc::CallbackServerContext* call, const grpc::ByteBuffer* request,
                                    grpc::ByteBuffer* response) override {
    return StartResultCall(ResultKind::kRegress, shared_.entrance, shared_.options.max_tensor_bytes, *call, *request,
                           *response);
  }

  grpc::ServerUnaryReactor* MultiInference(grpc::CallbackServerContext* call, const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override {
    return StartMultiInferenceCall(shared_.entrance, shared_.options.max_tensor_bytes, *call, *request, *response);
  }

  grpc::ServerUnaryReactor* GetModelMetadata(grpc::CallbackServerContext* call,
                                             const tfs::GetModelMetadataRequest* request,
                                             tfs::GetModelMetadataResponse* response) override {
    return AnswerNow(shared_.entrance, call, [&] { return Metadata(*request, response); });
  }

 private:
  absl::Status Metadata(const tfs::GetModelMetadataRequest& request, tfs::GetModelMetadataResponse* response) const {
    ASSIGN_OR_RETURN(const ServableRef ref, RefOfModelSpec(request.has_model_spec(), ViewOf(request.model_spec())));
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
    return AnswerNow(shared_.entrance, call, [&] { return ModelStatus(*request, response); });
  }

  /// Answers when every version that the new configuration wants is available, or has failed.
  grpc::ServerUnaryReactor* HandleReloadConfigRequest(grpc::CallbackServerContext* call,
                                                      const tfs::ReloadConfigRequest* request,
                                                      tfs::ReloadConfigResponse* response) override {
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    const auto finish = [reactor, response](const absl::Status& status) {
      if (!status.ok()) LogError(absl::StrCat("HandleReloadConfigRequest: ", status.message()));
      FillStatus(status, response->mutable_status());
      reactor->Finish(ToGrpc(status));
    };
    RequestEntry entry(shared_.entrance);
    absl::Status status = EnterCall(shared_.entrance, *call, &entry);
    if (status.ok()) status = shared_.entrance.access.CheckAdmin(MetadataOf(*call, "authorization"));
    if (status.ok()) status = Reload(request->config());
    entry.Finish(status);
    if (!status.ok()) {
      finish(status);
    } else {
      shared_.entrance.inference.servables().WhenSettled(entry.context()->deadline, finish);
    }
    return reactor;
  }

 private:
  absl::Status ModelStatus(const tfs::GetModelStatusRequest& request, tfs::GetModelStatusResponse* response) const {
    const ModelSpecView spec = ViewOf(request.model_spec());
    ASSIGN_OR_RETURN(const ServableRef ref, RefOfModelSpec(request.has_model_spec(), spec));
    ASSIGN_OR_RETURN(const auto versions, shared_.entrance.inference.servables().Status(ref));
    for (const Servables::VersionStatus& version : versions) {
      tfs::ModelVersionStatus& out = *response->add_model_version_status();
      out.set_version(version.version);
      out.set_state(static_cast<tfs::ModelVersionStatus::State>(version.state));
      FillStatus(version.status, out.mutable_status());
    }
    return absl::OkStatus();
  }

  absl::Status Reload(const tfs::ModelServerConfig& config) const {
    ASSIGN_OR_RETURN(std::vector<ModelConfig> models, ModelsOfServerConfig(config));
    return shared_.entrance.inference.servables().Configure(std::move(models));
  }

  static void FillStatus(const absl::Status& status, tfs::StatusProto* out) {
    out->set_error_code(static_cast<int>(status.code()));
    out->set_error_message(std::string(status.message()));
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
