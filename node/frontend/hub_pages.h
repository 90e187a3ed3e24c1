#pragma once

#include "absl/strings/string_view.h"
#include "base/executor.h"
#include "node/frontend/http_server.h"
#include "node/frontend/module_catalog.h"

namespace portico {

/// The documentation of hub modules over HTTP: /hub lists those of the mesh, /hub/PUBLISHER/NAME/VERSION is a module's
/// page. HTML where a browser asks (Accept: text/html) or with ?format=html; JSON otherwise, with ?format=json or
/// ".json" behind the path. /hub/HANDLE?example=tfs|v2 is the body of an example call. For admins. Thread-safe.
class HubPages {
 public:
  struct Options {
    /// "http" or "https".
    std::string scheme = "http";
    /// Where files are read and pages are made and packed: not where requests are served, which are not to wait for a
    /// slow disk; not owned, must outlive it. Null: in place.
    Executor* executor = nullptr;
  };
  /// `catalog` is not owned and must outlive it.
  HubPages(Options options, const ModuleCatalog& catalog) : options_(std::move(options)), catalog_(catalog) {}

  /// Whether the path is this frontend's.
  static bool Handles(absl::string_view path);
  void Handle(const HttpRequest& request, HttpServer::Respond respond) const;

 private:
  absl::StatusOr<HttpReply> Answer(const HttpRequest& request) const;

  const Options options_;
  const ModuleCatalog& catalog_;
};

}  // namespace portico
