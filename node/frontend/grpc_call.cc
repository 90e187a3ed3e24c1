#include "node/frontend/grpc_call.h"

#include <chrono>
#include <utility>

#include "base/status_macros.h"

namespace portico {

absl::Status EnterCall(const Entrance& entrance, const grpc::CallbackServerContext& call, RequestEntry* entry) {
  const auto& metadata = call.client_metadata();
  const auto header = [&](absl::string_view name) -> absl::string_view {
    const auto found = metadata.find(grpc::string_ref(name.data(), name.size()));
    return found == metadata.end() ? absl::string_view()
                                   : absl::string_view(found->second.data(), found->second.size());
  };
  Deadline deadline;
  if (const auto at = call.deadline(); at != std::chrono::system_clock::time_point::max()) {
    deadline = Deadline::In(absl::FromChrono(at - std::chrono::system_clock::now()), entrance.inference.clock());
  }
  return entry->Start(header, deadline);
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
  const std::string traceparent = entry_.Finish();
  if (!traceparent.empty()) call_.AddTrailingMetadata("traceparent", traceparent);
  Finish(ToGrpc(status));
}

}  // namespace portico
