#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/deadline.h"
#include "base/tensor.h"
#include "node/frontend/spliced_message.h"

namespace grpc {
class ByteBuffer;
class CallbackServerContext;
class Status;
}  // namespace grpc

namespace portico {

/// A message as it was received; `origin` keeps `bytes` alive for the tensors that view them.
struct ReceivedMessage {
  Ref<TensorOrigin> origin;
  absl::string_view bytes;
};

/// One slice as it is; several are joined, once. INVALID_ARGUMENT when no message came.
absl::StatusOr<ReceivedMessage> ReceiveMessage(const grpc::ByteBuffer& message);

/// `message` as slices of its own and of its tensors' memory.
void SendMessage(SplicedMessage message, grpc::ByteBuffer* out);

/// The value of a client's metadata by its lower-case name; empty where there is none. Valid as long as `call`.
absl::string_view MetadataOf(const grpc::CallbackServerContext& call, absl::string_view name);
/// The client's deadline.
Deadline DeadlineOf(const grpc::CallbackServerContext& call, const Clock& clock);

/// Code and message unchanged; a message too long for the header that carries it is cut.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace portico
