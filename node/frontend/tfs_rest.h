#pragma once

#include "node/frontend/http_server.h"
#include "node/inference.h"

namespace portico {

/// The TensorFlow Serving REST API below /v1/: predict (row and column format), metadata, status. Thread-safe.
class TfsRestFrontend {
 public:
  /// Not owned; must outlive it.
  explicit TfsRestFrontend(Inference& inference) : inference_(inference) {}

  /// Whether the path is this frontend's.
  static bool Handles(absl::string_view path);
  void Handle(const HttpRequest& request, HttpServer::Respond respond);

 private:
  Inference& inference_;
};

}  // namespace portico
