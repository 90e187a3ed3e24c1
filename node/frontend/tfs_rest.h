#pragma once

#include "node/frontend/http_server.h"
#include "node/frontend/request_entry.h"

namespace portico {

/// The TensorFlow Serving REST API below /v1/: predict (row and column format), classify, regress, metadata,
/// status. Thread-safe.
class TfsRestFrontend {
 public:
  struct Options {
    /// A request that takes longer is answered DEADLINE_EXCEEDED (504). 0: no limit.
    absl::Duration timeout = absl::Seconds(30);
    /// Bytes that the tensors of a classify or regress request may unfold to.
    uint64_t max_tensor_bytes = uint64_t{256} << 20;
  };

  /// `entrance` is not owned and must outlive it.
  TfsRestFrontend(Options options, const Entrance& entrance) : options_(options), entrance_(entrance) {}

  /// Whether the path is this frontend's.
  static bool Handles(absl::string_view path);
  void Handle(const HttpRequest& request, HttpServer::Respond respond);

 private:
  class Call;
  absl::StatusOr<HttpReply> Get(const HttpRequest& request) const;
  absl::StatusOr<std::string> StatusJson(const ServableRef& ref) const;

  const Options options_;
  const Entrance& entrance_;
};

}  // namespace portico
