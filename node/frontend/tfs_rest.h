#pragma once

#include "node/frontend/http_server.h"
#include "node/frontend/request_entry.h"

namespace portico {

/// The TensorFlow Serving REST API below /v1/: predict (row and column format), metadata, status. Thread-safe.
class TfsRestFrontend {
 public:
  /// Not owned; must outlive it.
  explicit TfsRestFrontend(const Entrance& entrance) : entrance_(entrance) {}

  /// Whether the path is this frontend's.
  static bool Handles(absl::string_view path);
  void Handle(const HttpRequest& request, HttpServer::Respond respond);

 private:
  class PredictCall;
  absl::StatusOr<HttpReply> Get(const HttpRequest& request) const;
  absl::StatusOr<std::string> StatusJson(const ServableRef& ref) const;

  const Entrance& entrance_;
};

}  // namespace portico
