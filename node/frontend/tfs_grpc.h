#pragma once

#include <memory>
#include <vector>

#include "node/frontend/request_entry.h"

namespace grpc {
class Service;
}

namespace portico {

/// The TensorFlow Serving API over gRPC: Predict, Classify, Regress and MultiInference (raw bytes, read and written in
/// place), GetModelMetadata, GetModelStatus and HandleReloadConfigRequest. Thread-safe.
class TfsGrpcFrontend {
 public:
  struct Options {
    /// Bytes of the tensors that a request may unfold to.
    uint64_t max_tensor_bytes = uint64_t{256} << 20;
  };
  /// `entrance` is not owned and must outlive it.
  static std::unique_ptr<TfsGrpcFrontend> Create(Options options, const Entrance& entrance);
  virtual ~TfsGrpcFrontend() = default;

  /// What a GrpcServer serves for it; owned by the frontend, which must outlive that server.
  virtual std::vector<grpc::Service*> services() = 0;
};

}  // namespace portico
