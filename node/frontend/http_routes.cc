#include "node/frontend/http_routes.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace portico {

HttpServer::Handler HttpRoutes(const Admin& admin, TfsRestFrontend& tfs) {
  return [&admin, &tfs](const HttpRequest& request, HttpServer::Respond respond) {
    if (TfsRestFrontend::Handles(request.path)) return tfs.Handle(request, std::move(respond));
    if (Admin::Handles(request.path)) return admin.Handle(request, std::move(respond));
    respond(ErrorReply(absl::NotFoundError(absl::StrCat("path '", request.path,
                                                        "': nothing here; want /v1/models/NAME, "
                                                        "/healthz, /readyz, /metrics or /debug/traces"))));
  };
}

}  // namespace portico
