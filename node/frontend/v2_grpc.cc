#include "node/frontend/v2_grpc.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "grpcpp/grpcpp.h"
#include "inference/grpc_service.grpc.pb.h"
#include "node/frontend/grpc_message.h"
#include "node/frontend/v2_infer_call.h"
#include "node/frontend/v2_info.h"
#include "node/frontend/v2_parameters.h"
#include "node/frontend/v2_stream.h"

namespace portico {
namespace {

namespace v2 = ::inference;

/// ModelInfer. gRPC calls OnDone last, whatever happened; it frees the call.
class UnaryCall final : public grpc::ServerUnaryReactor, public V2InferCall {
 public:
  UnaryCall(const Entrance& entrance, uint64_t max_bytes, grpc::CallbackServerContext& call, grpc::ByteBuffer& response)
      : V2InferCall(entrance, max_bytes), call_(call), response_(response) {}

  void OnDone() override { delete this; }
  void OnCancel() override { Cancel(); }
  /// Both reactions above are trivial: running them in place spares every call a hop to another thread.
  bool InternalInlineable() override { return true; }

 private:
  void Deliver(absl::StatusOr<SplicedMessage> response, const std::string& traceparent) override {
    if (!traceparent.empty()) call_.AddTrailingMetadata("traceparent", traceparent);
    if (const std::string fallbacks = Fallbacks(); !fallbacks.empty()) {
      call_.AddTrailingMetadata("x-portico-fallback", fallbacks);
    }
    if (const std::string rows = NotedRows(); !rows.empty()) call_.AddTrailingMetadata("x-portico-rows", rows);
    if (!Arm().empty()) call_.AddTrailingMetadata("x-portico-arm", std::string(Arm()));
    if (response.ok()) SendMessage(*std::move(response), &response_);
    Finish(ToGrpc(response.status()));
  }

  grpc::CallbackServerContext& call_;
  grpc::ByteBuffer& response_;
};

/// A call that asks for a servable, loads it where it is loaded on demand, and tells about it.
template <typename Response>
class ModelCall final : public grpc::ServerUnaryReactor {
 public:
  using Fill = std::function<absl::Status(const Servable& servable, Response* response)>;

  ModelCall(const Entrance& entrance, Response& response, Fill fill)
      : servables_(entrance.inference.servables()), response_(response), entry_(entrance), fill_(std::move(fill)) {}

  void Start(const grpc::CallbackServerContext& call, const Clock& clock, const absl::StatusOr<ServableRef>& ref) {
    absl::Status status =
        entry_.Start([&](absl::string_view name) { return MetadataOf(call, name); }, DeadlineOf(call, clock));
    status.Update(ref.status());
    if (!status.ok()) return Finish(ToGrpc(status));
    servables_.Acquire(*ref, entry_.context(), [this](absl::StatusOr<std::shared_ptr<const Servable>> servable) {
      Finish(ToGrpc(servable.ok() ? fill_(**servable, &response_) : servable.status()));
    });
  }
  void OnDone() override { delete this; }
  void OnCancel() override { entry_.Cancel(); }

 private:
  Servables& servables_;
  Response& response_;
  RequestEntry entry_;
  const Fill fill_;
};

using Service = v2::GRPCInferenceService;
using HealthBase = Service::WithCallbackMethod_ServerLive<
    Service::WithCallbackMethod_ServerReady<Service::WithCallbackMethod_ModelReady<Service::Service>>>;
using MetadataBase = Service::WithCallbackMethod_ServerMetadata<
    Service::WithCallbackMethod_ModelMetadata<Service::WithCallbackMethod_ModelConfig<HealthBase>>>;
using RepositoryBase = Service::WithCallbackMethod_RepositoryIndex<
    Service::WithCallbackMethod_RepositoryModelLoad<Service::WithCallbackMethod_RepositoryModelUnload<MetadataBase>>>;
using Base = Service::WithRawCallbackMethod_ModelInfer<
    Service::WithRawCallbackMethod_ModelStreamInfer<Service::WithCallbackMethod_ModelStatistics<RepositoryBase>>>;

class InferenceService final : public Base {
 public:
  InferenceService(V2GrpcFrontend::Options options, const Entrance& entrance, std::function<absl::Status()> ready)
      : options_(options), entrance_(entrance), ready_(std::move(ready)) {}

  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* call, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override {
    auto* infer = new UnaryCall(entrance_, options_.max_tensor_bytes, *call, *response);
    infer->Start([call](absl::string_view name) { return MetadataOf(*call, name); }, DeadlineOf(*call, clock()),
                 *request);
    return infer;
  }

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ModelStreamInfer(
      grpc::CallbackServerContext* call) override {
    return NewV2Stream(entrance_, *call, options_.max_tensor_bytes, options_.max_stream_in_flight);
  }

  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* call, const v2::ServerLiveRequest*,
                                       v2::ServerLiveResponse* response) override {
    response->set_live(true);
    return Answer(call, absl::OkStatus());
  }

  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* call, const v2::ServerReadyRequest*,
                                        v2::ServerReadyResponse* response) override {
    response->set_ready(ready_().ok());
    return Answer(call, absl::OkStatus());
  }

  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* call, const v2::ModelReadyRequest* request,
                                       v2::ModelReadyResponse* response) override {
    const absl::StatusOr<ServableRef> ref = RefOfV2(request->name(), request->version());
    if (ref.ok()) response->set_ready(!entrance_.inference.draining() && V2ModelReady(servables(), *ref));
    return Answer(call, ref.status());
  }

  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* call, const v2::ServerMetadataRequest*,
                                           v2::ServerMetadataResponse* response) override {
    const absl::Status status = CheckAccess(*call);
    if (status.ok()) FillV2ServerMetadata(response);
    return Answer(call, status);
  }

  grpc::ServerUnaryReactor* ModelMetadata(grpc::CallbackServerContext* call, const v2::ModelMetadataRequest* request,
                                          v2::ModelMetadataResponse* response) override {
    return StartModelCall<v2::ModelMetadataResponse>(
        call, *request, response, [this](const Servable& servable, v2::ModelMetadataResponse* out) -> absl::Status {
          ASSIGN_OR_RETURN(const Signature* const signature, FindV2Signature(servable, ""));
          FillV2ModelMetadata(servables(), servable, *signature, out);
          return absl::OkStatus();
        });
  }

  grpc::ServerUnaryReactor* ModelConfig(grpc::CallbackServerContext* call, const v2::ModelConfigRequest* request,
                                        v2::ModelConfigResponse* response) override {
    return StartModelCall<v2::ModelConfigResponse>(call, *request, response,
                                                   [](const Servable& servable, v2::ModelConfigResponse* out) {
                                                     FillV2ModelConfig(servable, out->mutable_config());
                                                     return absl::OkStatus();
                                                   });
  }

  grpc::ServerUnaryReactor* ModelStatistics(grpc::CallbackServerContext* call,
                                            const v2::ModelStatisticsRequest* request,
                                            v2::ModelStatisticsResponse* response) override {
    absl::Status status = CheckAccess(*call);
    if (status.ok()) status = FillV2Statistics(servables(), request->name(), request->version(), response);
    return Answer(call, status);
  }

  grpc::ServerUnaryReactor* RepositoryIndex(grpc::CallbackServerContext* call,
                                            const v2::RepositoryIndexRequest* request,
                                            v2::RepositoryIndexResponse* response) override {
    const absl::Status status = CheckAccess(*call);
    if (status.ok()) FillV2Index(servables().Index(), request->ready(), response);
    return Answer(call, status);
  }

  grpc::ServerUnaryReactor* RepositoryModelLoad(grpc::CallbackServerContext* call,
                                                const v2::RepositoryModelLoadRequest* request,
                                                v2::RepositoryModelLoadResponse*) override {
    absl::Status status = CheckAdmin(*call);
    for (const auto& [name, value] : request->parameters()) status.Update(CheckV2LoadParameter(name));
    if (status.ok()) status = servables().Load(request->model_name());
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    if (!status.ok()) {
      reactor->Finish(ToGrpc(status));
      return reactor;
    }
    servables().WhenSettled(request->model_name(), DeadlineOf(*call, clock()),
                            [reactor](const absl::Status& settled) { reactor->Finish(ToGrpc(settled)); });
    return reactor;
  }

  grpc::ServerUnaryReactor* RepositoryModelUnload(grpc::CallbackServerContext* call,
                                                  const v2::RepositoryModelUnloadRequest* request,
                                                  v2::RepositoryModelUnloadResponse*) override {
    absl::Status status = CheckAdmin(*call);
    if (status.ok()) status = servables().Unload(request->model_name());
    return Answer(call, status);
  }

 private:
  Servables& servables() const { return entrance_.inference.servables(); }
  const Clock& clock() const { return entrance_.inference.clock(); }
  absl::Status CheckAccess(const grpc::CallbackServerContext& call) const {
    return entrance_.access.Check(MetadataOf(call, "authorization")).status();
  }
  absl::Status CheckAdmin(const grpc::CallbackServerContext& call) const {
    return entrance_.access.CheckAdmin(MetadataOf(call, "authorization"));
  }

  static grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* call, const absl::Status& status) {
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    reactor->Finish(ToGrpc(status));
    return reactor;
  }

  template <typename Response, typename Request>
  grpc::ServerUnaryReactor* StartModelCall(grpc::CallbackServerContext* call, const Request& request,
                                           Response* response, typename ModelCall<Response>::Fill fill) {
    auto* model = new ModelCall<Response>(entrance_, *response, std::move(fill));
    model->Start(*call, clock(), RefOfV2(request.name(), request.version()));
    return model;
  }

  const V2GrpcFrontend::Options options_;
  const Entrance& entrance_;
  const std::function<absl::Status()> ready_;
};

class Frontend final : public V2GrpcFrontend {
 public:
  Frontend(Options options, const Entrance& entrance, std::function<absl::Status()> ready)
      : service_(options, entrance, std::move(ready)) {}

  std::vector<grpc::Service*> services() override { return {&service_}; }

 private:
  InferenceService service_;
};

}  // namespace

std::unique_ptr<V2GrpcFrontend> V2GrpcFrontend::Create(Options options, const Entrance& entrance,
                                                       std::function<absl::Status()> ready) {
  return std::make_unique<Frontend>(options, entrance, std::move(ready));
}

}  // namespace portico
