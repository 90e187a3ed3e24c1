#pragma once

#include <cstdint>

#include "node/frontend/request_entry.h"
#include "node/frontend/tfs_results.h"

namespace grpc {
class ByteBuffer;
class CallbackServerContext;
class ServerUnaryReactor;
}  // namespace grpc

namespace portico {

/// Starts a Classify or Regress call of the TensorFlow Serving API: Examples in, read in place; class lists or values
/// out. `max_tensor_bytes`: what a request's tensors may unfold to. The reactor frees itself. References are not owned
/// and must outlive the call.
grpc::ServerUnaryReactor* StartResultCall(ResultKind kind, const Entrance& entrance, uint64_t max_tensor_bytes,
                                          grpc::CallbackServerContext& call, const grpc::ByteBuffer& request,
                                          grpc::ByteBuffer& response);

/// The same for MultiInference: several signatures of one version of one model, run side by side on the same Examples.
/// The first error is the call's.
grpc::ServerUnaryReactor* StartMultiInferenceCall(const Entrance& entrance, uint64_t max_tensor_bytes,
                                                  grpc::CallbackServerContext& call, const grpc::ByteBuffer& request,
                                                  grpc::ByteBuffer& response);

}  // namespace portico
