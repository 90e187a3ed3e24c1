#include "node/frontend/tfs_rest.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status_macros.h"
#include "node/frontend/model_metadata.h"
#include "node/frontend/request_trace.h"
#include "node/frontend/tfs_json.h"
#include "node/frontend/tfs_rest_path.h"
#include "node/json_text.h"

namespace portico {
namespace {

/// `ask(ref)`; where nobody has that name, again with "publisher/name" for "publisher--name", since a URL's name cannot
/// hold a slash. The first error stands.
template <typename Ask>
auto AskForName(ServableRef ref, Ask ask) {
  auto answer = ask(ref);
  if (!absl::IsNotFound(answer.status()) || !absl::StrContains(ref.name, "--")) return answer;
  ref.name = absl::StrReplaceAll(ref.name, {{"--", "/"}});
  auto second = ask(ref);
  return second.ok() ? std::move(second) : std::move(answer);
}

absl::StatusOr<std::shared_ptr<const Servable>> Resolve(const Servables& servables, const ServableRef& ref) {
  return AskForName(ref, [&](const ServableRef& r) { return servables.Resolve(r); });
}

}  // namespace

/// One POST :predict: Start (read, resolve, run) → OnOutputs (write, answer). Owned by the completion.
class TfsRestFrontend::PredictCall {
 public:
  PredictCall(Inference& inference, TraceRing& traces, HttpServer::Respond respond)
      : inference_(inference), traces_(traces), respond_(std::move(respond)) {}

  static void Start(std::unique_ptr<PredictCall> call, const TfsRestPath& path, const HttpRequest& request) {
    call->trace_.Start(request.header("traceparent"), call->inference_.clock(), call->context_.get());
    absl::StatusOr<std::vector<Tensor>> inputs = call->Prepare(path, request.body);
    if (!inputs.ok()) return call->Answer(ErrorReply(inputs.status()));
    Inference& inference = call->inference_;
    const std::shared_ptr<const Servable> servable = call->servable_;
    const Signature& signature = *call->signature_;
    Ref<const RequestContext> context = call->context_;
    inference.Run(
        RequestApi::kTfsRest, servable, signature, std::move(context), *std::move(inputs),
        [call = std::move(call)](absl::StatusOr<std::vector<Tensor>> outputs) { call->OnOutputs(std::move(outputs)); });
  }

 private:
  absl::StatusOr<std::vector<Tensor>> Prepare(const TfsRestPath& path, absl::string_view body) {
    if (path.verb != "predict") {
      return absl::UnimplementedError(absl::StrCat(path.verb, ": not served here; use :predict with the same model"));
    }
    ASSIGN_OR_RETURN(servable_, Resolve(inference_.servables(), path.ref));
    ASSIGN_OR_RETURN(PredictJson request,
                     ReadPredictJson(body, [this](absl::string_view name) { return servable_->FindSignature(name); }));
    signature_ = request.signature;
    row_format_ = request.row_format;
    return std::move(request.inputs);
  }

  void OnOutputs(absl::StatusOr<std::vector<Tensor>> outputs) {
    if (!outputs.ok()) return Answer(ErrorReply(outputs.status()));
    absl::StatusOr<std::string> body = WritePredictJson(*signature_, *outputs, row_format_);
    if (!body.ok()) return Answer(ErrorReply(body.status()));
    HttpReply reply;
    reply.body = *std::move(body);
    Answer(std::move(reply));
  }

  void Answer(HttpReply reply) {
    std::string traceparent = trace_.Finish(inference_.node_name(), inference_.clock(), *context_, traces_);
    if (!traceparent.empty()) reply.headers.emplace_back("traceparent", std::move(traceparent));
    respond_(std::move(reply));
  }

  Inference& inference_;
  TraceRing& traces_;
  HttpServer::Respond respond_;
  Ref<RequestContext> context_ = MakeRef<RequestContext>();
  RequestTrace trace_;
  std::shared_ptr<const Servable> servable_;
  const Signature* signature_ = nullptr;
  bool row_format_ = false;
};

bool TfsRestFrontend::Handles(absl::string_view path) { return absl::StartsWith(path, "/v1/") || path == "/v1"; }

void TfsRestFrontend::Handle(const HttpRequest& request, HttpServer::Respond respond) {
  if (request.method == "POST") {
    absl::StatusOr<TfsRestPath> path = ParseTfsRestPath(request.method, request.path);
    if (!path.ok()) return respond(ErrorReply(path.status()));
    return PredictCall::Start(std::make_unique<PredictCall>(inference_, traces_, std::move(respond)), *path, request);
  }
  absl::StatusOr<HttpReply> reply = Get(request);
  respond(reply.ok() ? *std::move(reply) : ErrorReply(reply.status()));
}

absl::StatusOr<HttpReply> TfsRestFrontend::Get(const HttpRequest& request) const {
  ASSIGN_OR_RETURN(const TfsRestPath path, ParseTfsRestPath(request.method, request.path));
  HttpReply reply;
  if (path.metadata) {
    ASSIGN_OR_RETURN(const auto servable, Resolve(inference_.servables(), path.ref));
    ASSIGN_OR_RETURN(reply.body, MetadataJson(servable->name(), servable->version(), servable->signatures()));
  } else {
    ASSIGN_OR_RETURN(reply.body, StatusJson(path.ref));
  }
  return reply;
}

absl::StatusOr<std::string> TfsRestFrontend::StatusJson(const ServableRef& ref) const {
  ASSIGN_OR_RETURN(const auto versions,
                   AskForName(ref, [&](const ServableRef& r) { return inference_.servables().Status(r); }));
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
