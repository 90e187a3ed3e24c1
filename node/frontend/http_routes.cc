#include "node/frontend/http_routes.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace portico {

bool IsOpenPath(absl::string_view path) {
  if (path == "/healthz" || path == "/readyz" || path == "/v2/health/live" || path == "/v2/health/ready") return true;
  return absl::StartsWith(path, "/v2/models/") && absl::EndsWith(path, "/ready");
}

HttpServer::Admit HttpDoor(const Access& access) {
  return [&access](absl::string_view path,
                   absl::string_view authorization) -> absl::StatusOr<std::shared_ptr<const Tenant>> {
    if (IsOpenPath(path)) return nullptr;
    return access.Check(authorization);
  };
}

HttpServer::Handler HttpRoutes(HttpRouteOptions options, const Admin& admin, const HubPages& hub, TfsRestFrontend& tfs,
                               V2RestFrontend& v2) {
  return
      [options = std::move(options), &admin, &hub, &tfs, &v2](const HttpRequest& request, HttpServer::Respond respond) {
        if (absl::StartsWith(request.path, "/debug/") || HubPages::Handles(request.path)) {
          if (absl::Status status = CheckAdmin(request.tenant.get()); !status.ok()) return respond(ErrorReply(status));
        }
        if (!options.metrics_path.empty() && request.path == options.metrics_path) {
          // Answered inside the call, like all that Admin answers.
          HttpRequest metrics = request;
          metrics.path = "/metrics";
          return admin.Handle(metrics, std::move(respond));
        }
        if (TfsRestFrontend::Handles(request.path)) return tfs.Handle(request, std::move(respond));
        if (V2RestFrontend::Handles(request.path)) return v2.Handle(request, std::move(respond));
        if (Admin::Handles(request.path)) return admin.Handle(request, std::move(respond));
        if (HubPages::Handles(request.path)) return hub.Handle(request, std::move(respond));
        respond(ErrorReply(absl::NotFoundError(absl::StrCat("path '", request.path,
                                                            "': nothing here; want /v1/models/NAME, /v2/models/NAME, "
                                                            "/hub, /healthz, /readyz, /metrics or /debug/traces"))));
      };
}

}  // namespace portico
