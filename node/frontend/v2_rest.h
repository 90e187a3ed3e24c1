#pragma once

#include <cstdint>
#include <functional>

#include "node/frontend/http_server.h"
#include "node/frontend/request_entry.h"
#include "node/frontend/v2_rest_path.h"

namespace portico {

/// The Open Inference Protocol over REST, below /v2: health, metadata, infer with JSON and binary tensors, repository.
/// Thread-safe.
class V2RestFrontend {
 public:
  struct Options {
    /// Bytes of the tensors that a request may unfold to.
    uint64_t max_tensor_bytes = uint64_t{256} << 20;
    /// Of an infer request; 0: none but the request's own parameter `timeout`.
    absl::Duration timeout = absl::Seconds(30);
  };
  /// `ready`: OK when the node may get traffic. `entrance` is not owned and must outlive it.
  V2RestFrontend(Options options, const Entrance& entrance, std::function<absl::Status()> ready)
      : options_(options), entrance_(entrance), ready_(std::move(ready)) {}

  /// Whether the path is this frontend's.
  static bool Handles(absl::string_view path);
  void Handle(const HttpRequest& request, HttpServer::Respond respond);

 private:
  class InferCall;
  class ModelCall;
  absl::StatusOr<HttpReply> Statistics(const ServableRef& url) const;
  HttpReply ReadyReply() const;
  HttpReply ModelReadyReply(const ServableRef& ref) const;
  void Load(const ServableRef& ref, const HttpRequest& request, HttpServer::Respond respond);
  absl::StatusOr<HttpReply> Unload(const ServableRef& ref, const HttpRequest& request);

  const Options options_;
  const Entrance& entrance_;
  const std::function<absl::Status()> ready_;
};

}  // namespace portico
