#include "node/frontend/grpc_message.h"

#include <chrono>

#include "grpcpp/server_context.h"
#include "grpcpp/support/status.h"

namespace portico {
absl::string_view MetadataOf(const grpc::CallbackServerContext& call, absl::string_view name) {
  const auto& metadata = call.client_metadata();
  const auto found = metadata.find(grpc::string_ref(name.data(), name.size()));
  return found == metadata.end() ? absl::string_view() : absl::string_view(found->second.data(), found->second.size());
}

Deadline DeadlineOf(const grpc::CallbackServerContext& call, const Clock& clock) {
  const auto at = call.deadline();
  if (at == std::chrono::system_clock::time_point::max()) return Deadline();
  return Deadline::In(absl::FromChrono(at - std::chrono::system_clock::now()), clock);
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // A message travels in a header; clients accept 8 KiB of them, and escapes may treble it.
  constexpr size_t kMaxMessage = 2048;
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message().substr(0, kMaxMessage))};
}

}  // namespace portico
