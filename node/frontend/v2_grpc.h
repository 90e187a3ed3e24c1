#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "node/frontend/request_entry.h"

namespace grpc {
class Service;
}

namespace portico {

/// The Open Inference Protocol over gRPC: inference.GRPCInferenceService with its repository, statistics and
/// configuration extensions. ModelInfer and ModelStreamInfer are raw bytes, read and written in place. Thread-safe.
class V2GrpcFrontend {
 public:
  struct Options {
    /// Bytes of the tensors that a request may unfold to.
    uint64_t max_tensor_bytes = uint64_t{256} << 20;
    /// Requests of one stream in hand; a client that sends more is read more slowly.
    int max_stream_in_flight = 128;
  };
  /// `ready`: OK when the node may get traffic. `entrance` is not owned and must outlive it.
  static std::unique_ptr<V2GrpcFrontend> Create(Options options, const Entrance& entrance,
                                                std::function<absl::Status()> ready);
  virtual ~V2GrpcFrontend() = default;

  /// What a GrpcServer serves for it; owned by the frontend, which must outlive that server.
  virtual std::vector<grpc::Service*> services() = 0;
};

}  // namespace portico
