#pragma once

#include "absl/status/statusor.h"
#include "codec/received_message.h"
#include "codec/spliced_message.h"

namespace grpc {
class ByteBuffer;
}

namespace portico {

/// One slice as it is; several are joined, once. INVALID_ARGUMENT when no message came.
absl::StatusOr<ReceivedMessage> ReceiveMessage(const grpc::ByteBuffer& message);

/// `message` as slices of its own and of its tensors' memory.
void SendMessage(SplicedMessage message, grpc::ByteBuffer* out);

}  // namespace portico
