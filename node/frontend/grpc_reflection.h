#pragma once

#include <memory>
#include <vector>

#include "node/frontend/access.h"

namespace grpc {
class Service;
}

namespace portico {

/// grpc.reflection.v1 and v1alpha: tells a client such as grpcurl which services the node has and what their messages
/// look like. Asks `access` who calls, which gRPC's own plugin cannot. Thread-safe.
class GrpcReflection {
 public:
  /// `access` is not owned and must outlive the server.
  static std::unique_ptr<GrpcReflection> Create(const Access& access);
  virtual ~GrpcReflection() = default;

  virtual std::vector<grpc::Service*> services() = 0;
};

}  // namespace portico
