#pragma once

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "transport/peer_header.h"
#include "transport/transport.h"

namespace grpc {
class ByteBuffer;
}

namespace portico {

// One message of the peer protocol as the body of a gRPC message: varint length of the header, the header, then the
// bytes of each tensor in order. docs/wire_format.md describes it.

/// The method of a call (unary) and of a connection (both sides say who they are and stream changes).
inline constexpr char kGrpcCallMethod[] = "/portico.Peer/Call";
inline constexpr char kGrpcHelloMethod[] = "/portico.Peer/Hello";

/// Writes `header` with the values of `envelope`, and the envelope's tensors. Large tensors are shared with `out`, not
/// copied.
void WriteGrpcMessage(const PeerHeader& header, const PeerEnvelope& envelope, grpc::ByteBuffer* out);
/// Writes a header that is encoded already, without tensors.
void WriteGrpcHeader(absl::string_view header, grpc::ByteBuffer* out);

/// Reads what WriteGrpcMessage() writes. Tensors share the buffer's memory; one that lies in several slices is copied.
/// INVALID_ARGUMENT for anything else or beyond `limits`.
absl::Status ReadGrpcMessage(const grpc::ByteBuffer& buffer, const PeerLimits& limits, PeerMessage* message);

}  // namespace portico
