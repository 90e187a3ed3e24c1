#include "node/frontend/v2_rest.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "codec/json_text.h"
#include "inference/grpc_service.pb.h"
#include "node/frontend/tfs_codec.h"
#include "node/frontend/url_ref.h"
#include "node/frontend/v2_infer_call.h"
#include "node/frontend/v2_info_json.h"
#include "node/frontend/v2_json.h"

namespace portico {
namespace {

using Route = V2RestPath::Route;

constexpr char kJsonLength[] = "Inference-Header-Content-Length";

HttpReply JsonReply(std::string body) {
  HttpReply reply;
  reply.body = std::move(body);
  return reply;
}

/// The value of `key` in a URL's query; empty where there is none.
absl::string_view QueryValue(absl::string_view query, absl::string_view key) {
  for (absl::string_view part : absl::StrSplit(query, '&')) {
    if (absl::ConsumePrefix(&part, key) && absl::ConsumePrefix(&part, "=")) return part;
  }
  return {};
}

}  // namespace

/// One POST …/infer: Start (read, acquire) → OnServable (order, run) → OnOutputs (write, answer). Owned by the
/// completion.
class V2RestFrontend::InferCall {
 public:
  InferCall(const Entrance& entrance, const Options& options, const HttpRequest& request, HttpServer::Respond respond)
      : inference_(entrance.inference),
        options_(options),
        body_(request.body),
        respond_(std::move(respond)),
        entry_(entrance) {}

  static void Start(std::unique_ptr<InferCall> call, ServableRef ref, const HttpRequest& request) {
    if (absl::Status status = call->Read(request); !status.ok()) return call->Answer(ErrorReply(status));
    Servables& servables = call->inference_.servables();
    ref = RefByUrl(servables, std::move(ref));
    const Ref<const RequestContext> context = call->entry_.context();
    servables.Acquire(ref, context, [call = std::move(call)](auto servable) mutable {
      OnServable(std::move(call), std::move(servable));
    });
  }

 private:
  absl::Status Read(const HttpRequest& request) {
    const Deadline deadline =
        options_.timeout > absl::ZeroDuration() ? Deadline::In(options_.timeout, inference_.clock()) : Deadline();
    RETURN_IF_ERROR(entry_.StartFor(request.tenant.get(), request.header, deadline));
    if (request.when_gone) request.when_gone([context = entry_.context()] { context->Cancel(); });
    const absl::string_view length = request.header("inference-header-content-length");
    uint64_t json = body_.size();
    if (!length.empty() && (!absl::SimpleAtoi(length, &json) || json > body_.size())) {
      return absl::InvalidArgumentError(absl::StrCat("header ", kJsonLength, ": got '", length.substr(0, 64),
                                                     "', want at most the ", body_.size(), " bytes of the body"));
    }
    raw_body_ = !length.empty() && json == 0;
    if (raw_body_) {
      request_.parameters.binary_data_output = true;
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(request_, ReadV2InferJson(body_.substr(0, json), body_.substr(json), options_.max_tensor_bytes));
    return request_.parameters.ApplyTo(inference_.clock(), entry_.context().get());
  }

  static void OnServable(std::unique_ptr<InferCall> call, absl::StatusOr<std::shared_ptr<const Servable>> servable) {
    if (!servable.ok()) return call->Answer(ErrorReply(servable.status()));
    call->servable_ = *std::move(servable);
    absl::StatusOr<std::vector<Tensor>> inputs = call->Prepare();
    if (!inputs.ok()) return call->Answer(ErrorReply(inputs.status()));
    Inference& inference = call->inference_;
    std::shared_ptr<const Servable> running = call->servable_;
    const Signature& signature = *call->signature_;
    Ref<const RequestContext> context = call->entry_.context();
    inference.Run(
        RequestApi::kV2Rest, std::move(running), signature, std::move(context), *std::move(inputs),
        [call = std::move(call)](absl::StatusOr<std::vector<Tensor>> outputs) { call->OnOutputs(std::move(outputs)); });
  }

  absl::StatusOr<std::vector<Tensor>> Prepare() {
    ASSIGN_OR_RETURN(signature_, FindV2Signature(*servable_, request_.parameters.signature));
    absl::InlinedVector<absl::string_view, 8> names;
    for (const V2InferJson::Output& output : request_.outputs) names.push_back(output.name);
    ASSIGN_OR_RETURN(selected_, SelectOutputs(*signature_, names));
    if (!raw_body_) return OrderInputs(*signature_, std::move(request_.inputs));
    ASSIGN_OR_RETURN(Tensor input, ReadV2RawBody(*signature_, body_));
    return std::vector<Tensor>{std::move(input)};
  }

  void OnOutputs(const absl::StatusOr<std::vector<Tensor>>& outputs) {
    absl::StatusOr<HttpReply> reply = outputs.ok() ? Write(*outputs) : outputs.status();
    Answer(reply.ok() ? *std::move(reply) : ErrorReply(reply.status()));
  }

  absl::StatusOr<HttpReply> Write(absl::Span<const Tensor> outputs) const {
    absl::InlinedVector<bool, 8> binary(selected_.size(), request_.parameters.binary_data_output);
    for (size_t i = 0; i < request_.outputs.size(); ++i) {
      binary[i] = request_.outputs[i].parameters.binary_data.value_or(binary[i]);
    }
    const std::string fallbacks = entry_.Fallbacks(), rows = entry_.NotedRows();
    const V2Answer answer{servable_->name(), servable_->version(), request_.id, fallbacks, rows};
    ASSIGN_OR_RETURN(V2InferBody body, WriteV2InferJson(answer, *signature_, selected_, binary, outputs));
    HttpReply reply;
    if (body.json < body.bytes.size() || absl::c_linear_search(binary, true)) {
      reply.content_type = "application/octet-stream";
      reply.headers.emplace_back(kJsonLength, absl::StrCat(body.json));
    }
    reply.body = std::move(body.bytes);
    return reply;
  }

  void Answer(HttpReply reply) {
    std::string traceparent = entry_.Finish(reply.code < 400 ? "" : absl::StrCat("HTTP ", reply.code));
    if (!traceparent.empty()) reply.headers.emplace_back("traceparent", std::move(traceparent));
    if (std::string fallbacks = entry_.Fallbacks(); !fallbacks.empty()) {
      reply.headers.emplace_back("X-Portico-Fallback", std::move(fallbacks));
    }
    if (std::string rows = entry_.NotedRows(); !rows.empty()) {
      reply.headers.emplace_back("X-Portico-Rows", std::move(rows));
    }
    if (!entry_.Arm().empty()) reply.headers.emplace_back("X-Portico-Arm", entry_.Arm());
    respond_(std::move(reply));
  }

  Inference& inference_;
  const Options& options_;
  /// Lives until respond_ is called.
  const absl::string_view body_;
  HttpServer::Respond respond_;
  RequestEntry entry_;
  V2InferJson request_;
  /// The body is one input's bytes and nothing else.
  bool raw_body_ = false;
  std::shared_ptr<const Servable> servable_;
  const Signature* signature_ = nullptr;
  absl::InlinedVector<int, 8> selected_;
};

/// One GET that tells about a model, which is loaded first where it is loaded on demand. Owned by the completion.
class V2RestFrontend::ModelCall {
 public:
  using Tell = std::function<absl::StatusOr<std::string>(const Servable& servable)>;

  static void Start(const Entrance& entrance, const HttpRequest& request, ServableRef ref, HttpServer::Respond respond,
                    Tell tell) {
    auto call = std::make_unique<ModelCall>(entrance, std::move(respond), std::move(tell));
    absl::Status status = call->entry_.StartFor(request.tenant.get(), request.header, Deadline());
    if (!status.ok()) return call->respond_(ErrorReply(status));
    Servables& servables = entrance.inference.servables();
    ref = RefByUrl(servables, std::move(ref));
    const Ref<const RequestContext> context = call->entry_.context();
    servables.Acquire(ref, context, [call = std::move(call)](auto servable) {
      absl::StatusOr<std::string> body = servable.ok() ? call->tell_(**servable) : servable.status();
      call->respond_(body.ok() ? JsonReply(*std::move(body)) : ErrorReply(body.status()));
    });
  }

  ModelCall(const Entrance& entrance, HttpServer::Respond respond, Tell tell)
      : entry_(entrance), respond_(std::move(respond)), tell_(std::move(tell)) {}

 private:
  RequestEntry entry_;
  HttpServer::Respond respond_;
  const Tell tell_;
};

bool V2RestFrontend::Handles(absl::string_view path) { return absl::StartsWith(path, "/v2/") || path == "/v2"; }

void V2RestFrontend::Handle(const HttpRequest& request, HttpServer::Respond respond) {
  absl::StatusOr<V2RestPath> path = ParseV2RestPath(request.method, request.path);
  if (!path.ok()) return respond(ErrorReply(path.status()));
  Servables& servables = entrance_.inference.servables();
  const auto answer = [&](absl::StatusOr<HttpReply> reply) {
    respond(reply.ok() ? *std::move(reply) : ErrorReply(reply.status()));
  };
  switch (path->route) {
    case Route::kInfer:
      return InferCall::Start(std::make_unique<InferCall>(entrance_, options_, request, std::move(respond)),
                              std::move(path->ref), request);
    case Route::kServer: {
      inference::ServerMetadataResponse metadata;
      FillV2ServerMetadata(&metadata);
      return answer(JsonReply(V2Json(metadata)));
    }
    case Route::kLive:
      return answer(JsonReply("{\"live\":true}"));
    case Route::kReady:
      return answer(ReadyReply());
    case Route::kModelReady:
      return answer(ModelReadyReply(path->ref));
    case Route::kModel:
      return ModelCall::Start(entrance_, request, std::move(path->ref), std::move(respond),
                              [&servables, name = std::string(QueryValue(request.query, "signature"))](
                                  const Servable& servable) -> absl::StatusOr<std::string> {
                                ASSIGN_OR_RETURN(const Signature* const signature, FindV2Signature(servable, name));
                                inference::ModelMetadataResponse metadata;
                                FillV2ModelMetadata(servables, servable, *signature, &metadata);
                                return V2Json(metadata);
                              });
    case Route::kModelConfig:
      return ModelCall::Start(entrance_, request, std::move(path->ref), std::move(respond),
                              [](const Servable& servable) -> absl::StatusOr<std::string> {
                                inference::ModelConfig config;
                                FillV2ModelConfig(servable, &config);
                                return V2Json(config);
                              });
    case Route::kStats:
      return answer(Statistics(path->ref));
    case Route::kIndex: {
      const absl::StatusOr<bool> ready_only = ReadV2IndexJson(request.body);
      if (!ready_only.ok()) return answer(ready_only.status());
      inference::RepositoryIndexResponse index;
      FillV2Index(servables.Index(), *ready_only, &index);
      return answer(JsonReply(V2Json(index)));
    }
    case Route::kLoad:
      return Load(RefByUrl(servables, std::move(path->ref)), request, std::move(respond));
    case Route::kUnload:
      return answer(Unload(RefByUrl(servables, std::move(path->ref)), request));
  }
}

absl::StatusOr<HttpReply> V2RestFrontend::Statistics(const ServableRef& url) const {
  const Servables& servables = entrance_.inference.servables();
  const ServableRef ref = url.name.empty() ? url : RefByUrl(servables, url);
  inference::ModelStatisticsResponse statistics;
  RETURN_IF_ERROR(FillV2Statistics(servables, ref.name, ref.version < 0 ? "" : absl::StrCat(ref.version), &statistics));
  return JsonReply(V2Json(statistics));
}

HttpReply V2RestFrontend::ReadyReply() const {
  const bool ready = ready_().ok();
  HttpReply reply = JsonReply(absl::StrCat("{\"ready\":", ready ? "true" : "false", "}"));
  if (!ready) reply.code = 503;
  return reply;
}

HttpReply V2RestFrontend::ModelReadyReply(const ServableRef& url) const {
  const Servables& servables = entrance_.inference.servables();
  const ServableRef ref = RefByUrl(servables, url);
  const bool ready = !entrance_.inference.draining() && V2ModelReady(servables, ref);
  HttpReply reply;
  reply.body = "{\"name\":";
  AppendJsonString(ref.name, &reply.body);
  absl::StrAppend(&reply.body, ",\"ready\":", ready ? "true" : "false", "}");
  if (!ready) reply.code = servables.Has(ref.name) ? 503 : 404;
  return reply;
}

void V2RestFrontend::Load(const ServableRef& ref, const HttpRequest& request, HttpServer::Respond respond) {
  absl::Status status = CheckAdmin(request.tenant.get());
  status.Update(CheckV2LoadJson(request.body));
  if (status.ok()) status = entrance_.inference.servables().Load(ref.name);
  if (!status.ok()) return respond(ErrorReply(status));
  entrance_.inference.servables().WhenSettled(ref.name, Deadline(),
                                              [respond = std::move(respond)](const absl::Status& settled) mutable {
                                                respond(settled.ok() ? JsonReply("{}") : ErrorReply(settled));
                                              });
}

absl::StatusOr<HttpReply> V2RestFrontend::Unload(const ServableRef& ref, const HttpRequest& request) {
  RETURN_IF_ERROR(CheckAdmin(request.tenant.get()));
  RETURN_IF_ERROR(CheckV2LoadJson(request.body));
  RETURN_IF_ERROR(entrance_.inference.servables().Unload(ref.name));
  return JsonReply("{}");
}

}  // namespace portico
