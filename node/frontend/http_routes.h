#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "node/frontend/access.h"
#include "node/frontend/admin.h"
#include "node/frontend/http_server.h"
#include "node/frontend/hub_pages.h"
#include "node/frontend/tfs_rest.h"
#include "node/frontend/v2_rest.h"

namespace portico {

struct HttpRouteOptions {
  /// Serves the metrics, too; empty: nothing.
  std::string metrics_path;
};

/// Whether anybody may ask: health and readiness.
bool IsOpenPath(absl::string_view path);

/// Whom a node's HTTP listener lets in: all paths but open ones ask `access`, whatever they are. Not owned; must
/// outlive the server.
HttpServer::Admit HttpDoor(const Access& access);

/// The handler of a node's HTTP listener: by its path, a request goes to the frontend that handles it; 404 for the
/// rest. /debug/… and /hub are for admins. References are not owned and must outlive the server.
HttpServer::Handler HttpRoutes(HttpRouteOptions options, const Admin& admin, const HubPages& hub, TfsRestFrontend& tfs,
                               V2RestFrontend& v2);

}  // namespace portico
