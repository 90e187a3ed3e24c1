#pragma once

#include "node/frontend/http_server.h"
#include "node/inference.h"
#include "node/observe/traces.h"

namespace portico {

/// The TensorFlow Serving REST API below /v1/: predict (row and column format), metadata, status. Thread-safe.
class TfsRestFrontend {
 public:
  /// Not owned; must outlive it. `traces`: where sampled requests leave their spans.
  TfsRestFrontend(Inference& inference, TraceRing& traces) : inference_(inference), traces_(traces) {}

  /// Whether the path is this frontend's.
  static bool Handles(absl::string_view path);
  void Handle(const HttpRequest& request, HttpServer::Respond respond);

 private:
  class PredictCall;
  absl::StatusOr<HttpReply> Get(const HttpRequest& request) const;
  absl::StatusOr<std::string> StatusJson(const ServableRef& ref) const;

  Inference& inference_;
  TraceRing& traces_;
};

}  // namespace portico
