#pragma once

#include <cstdint>

#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "node/frontend/request_entry.h"

/// For .cc files only: a reactor is a type of gRPC's.

namespace portico {

/// One ModelStreamInfer: requests are read as they come, run side by side, and answered in the order in which they
/// complete. What is wrong with one is its answer; the stream goes on. At most `max_in_flight` requests are in hand or
/// unsent; then reading stops until an answer has left. A client that cancels evicts what it has sent. Frees itself.
/// `entrance` and `call` are not owned and must outlive it.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* NewV2Stream(const Entrance& entrance,
                                                                         grpc::CallbackServerContext& call,
                                                                         uint64_t max_bytes, int max_in_flight);

}  // namespace portico
