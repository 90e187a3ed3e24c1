#include "node/frontend/grpc_call.h"

#include <utility>

#include "base/status_macros.h"

namespace portico {

absl::Status EnterCall(const Entrance& entrance, const grpc::CallbackServerContext& call, RequestEntry* entry) {
  return entry->Start([&](absl::string_view name) { return MetadataOf(call, name); },
                      DeadlineOf(call, entrance.inference.clock()));
}

absl::Status GrpcCall::Enter(const grpc::ByteBuffer& message) {
  RETURN_IF_ERROR(EnterCall(entrance_, call_, &entry_));
  ASSIGN_OR_RETURN(received_, ReceiveMessage(message));
  return absl::OkStatus();
}

void GrpcCall::Answer(SplicedMessage message) {
  SendMessage(std::move(message), &response_);
  Complete(absl::OkStatus());
}

void GrpcCall::Complete(const absl::Status& status) {
  const std::string traceparent = entry_.Finish(status);
  if (!traceparent.empty()) call_.AddTrailingMetadata("traceparent", traceparent);
  if (const std::string fallbacks = entry_.Fallbacks(); !fallbacks.empty()) {
    call_.AddTrailingMetadata("x-portico-fallback", fallbacks);
  }
  if (const std::string rows = entry_.NotedRows(); !rows.empty()) call_.AddTrailingMetadata("x-portico-rows", rows);
  if (!entry_.Arm().empty()) call_.AddTrailingMetadata("x-portico-arm", std::string(entry_.Arm()));
  Finish(ToGrpc(status));
}

}  // namespace portico
