#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "node/inference.h"

namespace grpc {
class Service;
}

namespace portico {

/// grpc.health.v1.Health over what a node can serve now. The service "" and the names of the node's client services
/// stand for the node as a whole, any other name for the model of that name. Check asks; Watch is told within
/// `watch_period` of a change, and ends once the node drains. Thread-safe.
class GrpcHealth {
 public:
  struct Options {
    /// How often watched services are looked at, while any is.
    absl::Duration watch_period = absl::Milliseconds(100);
    int max_watches = 1024;
  };
  /// `ready`: OK when the node may get traffic; called until the server that serves it has stopped. `inference` is not
  /// owned and must outlive that server.
  static std::unique_ptr<GrpcHealth> Create(Options options, Inference& inference, std::function<absl::Status()> ready);
  virtual ~GrpcHealth() = default;

  virtual std::vector<grpc::Service*> services() = 0;
};

}  // namespace portico
