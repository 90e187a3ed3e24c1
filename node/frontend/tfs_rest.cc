#include "node/frontend/tfs_rest.h"

#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "codec/json_text.h"
#include "node/frontend/model_metadata.h"
#include "node/frontend/tfs_example.h"
#include "node/frontend/tfs_examples_json.h"
#include "node/frontend/tfs_json.h"
#include "node/frontend/tfs_rest_path.h"
#include "node/frontend/tfs_results.h"
#include "node/frontend/url_ref.h"

namespace portico {
/// One POST: Start (acquire) → OnServable (read, run) → OnOutputs (write, answer). Owned by the completion.
class TfsRestFrontend::Call {
 public:
  Call(const TfsRestFrontend& frontend, TfsRestPath path, const HttpRequest& request, HttpServer::Respond respond)
      : inference_(frontend.entrance_.inference),
        options_(frontend.options_),
        path_(std::move(path)),
        body_(request.body),
        respond_(std::move(respond)),
        entry_(frontend.entrance_) {}

  static void Start(std::unique_ptr<Call> call, const HttpRequest& request) {
    if (absl::Status status = call->Check(request); !status.ok()) return call->Answer(ErrorReply(status));
    Servables& servables = call->inference_.servables();
    const ServableRef ref = RefByUrl(servables, call->path_.ref);
    const Ref<const RequestContext> context = call->entry_.context();
    servables.Acquire(ref, context, [call = std::move(call)](auto servable) mutable {
      OnServable(std::move(call), std::move(servable));
    });
  }

 private:
  absl::Status Check(const HttpRequest& request) {
    const Deadline deadline =
        options_.timeout > absl::ZeroDuration() ? Deadline::In(options_.timeout, inference_.clock()) : Deadline();
    RETURN_IF_ERROR(entry_.StartFor(request.tenant.get(), request.header, deadline));
    if (request.when_gone) request.when_gone([context = entry_.context()] { context->Cancel(); });
    return absl::OkStatus();
  }

  static void OnServable(std::unique_ptr<Call> call, absl::StatusOr<std::shared_ptr<const Servable>> servable) {
    if (!servable.ok()) return call->Answer(ErrorReply(servable.status()));
    call->servable_ = *std::move(servable);
    absl::StatusOr<std::vector<Tensor>> inputs = call->Prepare();
    if (!inputs.ok()) return call->Answer(ErrorReply(inputs.status()));
    Inference& inference = call->inference_;
    std::shared_ptr<const Servable> running = call->servable_;
    const Signature& signature = *call->signature_;
    Ref<const RequestContext> context = call->entry_.context();
    inference.Run(
        RequestApi::kTfsRest, std::move(running), signature, std::move(context), *std::move(inputs),
        [call = std::move(call)](absl::StatusOr<std::vector<Tensor>> outputs) { call->OnOutputs(std::move(outputs)); });
  }

  absl::StatusOr<std::vector<Tensor>> Prepare() {
    const auto find = [this](absl::string_view name) { return servable_->FindSignature(name); };
    if (path_.verb != "predict") {
      kind_ = path_.verb == "classify" ? ResultKind::kClassify : ResultKind::kRegress;
      ASSIGN_OR_RETURN(const ExamplesJson request, ReadExamplesJson(body_, find));
      signature_ = request.signature;
      examples_ = static_cast<int64_t>(request.examples.size());
      RETURN_IF_ERROR(CheckResultSignature(*kind_, *signature_));
      return ExampleTensors(*signature_, request.view(), options_.max_tensor_bytes);
    }
    ASSIGN_OR_RETURN(PredictJson request, ReadPredictJson(body_, find));
    signature_ = request.signature;
    row_format_ = request.row_format;
    return std::move(request.inputs);
  }

  void OnOutputs(absl::StatusOr<std::vector<Tensor>> outputs) {
    if (!outputs.ok()) return Answer(ErrorReply(outputs.status()));
    absl::StatusOr<std::string> body = Write(*outputs);
    if (!body.ok()) return Answer(ErrorReply(body.status()));
    HttpReply reply;
    reply.body = *std::move(body);
    Answer(std::move(reply));
  }

  absl::StatusOr<std::string> Write(absl::Span<const Tensor> outputs) const {
    if (!kind_.has_value()) return WritePredictJson(*signature_, outputs, row_format_);
    ASSIGN_OR_RETURN(const ExampleResults results, ExampleResults::Of(*kind_, *signature_, outputs, examples_));
    return ResultsJson(results);
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
  const TfsRestPath path_;
  /// Lives until respond_ is called.
  const absl::string_view body_;
  HttpServer::Respond respond_;
  RequestEntry entry_;
  std::shared_ptr<const Servable> servable_;
  const Signature* signature_ = nullptr;
  bool row_format_ = false;
  /// Of classify and regress.
  std::optional<ResultKind> kind_;
  int64_t examples_ = 0;
};

bool TfsRestFrontend::Handles(absl::string_view path) { return absl::StartsWith(path, "/v1/") || path == "/v1"; }

void TfsRestFrontend::Handle(const HttpRequest& request, HttpServer::Respond respond) {
  if (request.method == "POST") {
    absl::StatusOr<TfsRestPath> path = ParseTfsRestPath(request.method, request.path);
    if (!path.ok()) return respond(ErrorReply(path.status()));
    return Call::Start(std::make_unique<Call>(*this, *std::move(path), request, std::move(respond)), request);
  }
  absl::StatusOr<HttpReply> reply = Get(request);
  respond(reply.ok() ? *std::move(reply) : ErrorReply(reply.status()));
}

absl::StatusOr<HttpReply> TfsRestFrontend::Get(const HttpRequest& request) const {
  ASSIGN_OR_RETURN(const TfsRestPath path, ParseTfsRestPath(request.method, request.path));
  HttpReply reply;
  if (path.metadata) {
    const Servables& servables = entrance_.inference.servables();
    ASSIGN_OR_RETURN(const auto servable, servables.Resolve(RefByUrl(servables, path.ref)));
    ASSIGN_OR_RETURN(reply.body, MetadataJson(servable->name(), servable->version(), servable->signatures()));
  } else {
    ASSIGN_OR_RETURN(reply.body, StatusJson(path.ref));
  }
  return reply;
}

absl::StatusOr<std::string> TfsRestFrontend::StatusJson(const ServableRef& ref) const {
  const Servables& servables = entrance_.inference.servables();
  ASSIGN_OR_RETURN(const auto versions, servables.Status(RefByUrl(servables, ref)));
  std::string json = "{\"model_version_status\":[";
  for (size_t i = 0; i < versions.size(); ++i) {
    const Servables::VersionStatus& version = versions[i];
    absl::StrAppend(&json, i == 0 ? "" : ",", "{\"version\":\"", version.version, "\",\"state\":\"",
                    Servables::StateName(version.state), "\",\"status\":{\"error_code\":\"",
                    absl::StatusCodeToString(version.status.code()), "\",\"error_message\":");
    AppendJsonString(version.status.message(), &json);
    json += "}}";
  }
  json += "]}";
  return json;
}

}  // namespace portico
