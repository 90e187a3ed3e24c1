#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "node/inference.h"
#include "node/observe/traces.h"

namespace portico {

/// The TensorFlow Serving API over gRPC: Predict (raw bytes, read and written in place), GetModelMetadata,
/// GetModelStatus. Owns the gRPC server. The destructor stops it.
class TfsGrpcFrontend {
 public:
  struct Options {
    /// HOST:PORT; port 0 lets the system choose.
    std::string address = "127.0.0.1:0";
    /// Bytes of one message, in and out; also of the tensors that a request may unfold to.
    int max_message_bytes = 256 << 20;
  };
  /// References are not owned and must outlive it. `traces`: where sampled requests leave their spans. UNAVAILABLE when
  /// the address is taken.
  static absl::StatusOr<std::unique_ptr<TfsGrpcFrontend>> Start(Options options, Inference& inference,
                                                                TraceRing& traces);
  virtual ~TfsGrpcFrontend() = default;

  /// HOST:PORT as bound.
  virtual const std::string& address() const = 0;
  /// Stops accepting, waits for calls in hand at most `timeout`, then cancels them.
  virtual void Stop(absl::Duration timeout) = 0;
};

}  // namespace portico
