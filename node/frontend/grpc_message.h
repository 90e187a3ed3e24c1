#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/deadline.h"
#include "transport/grpc_bytes.h"

namespace grpc {
class CallbackServerContext;
class Status;
}  // namespace grpc

namespace portico {

/// The value of a client's metadata by its lower-case name; empty where there is none. Valid as long as `call`.
absl::string_view MetadataOf(const grpc::CallbackServerContext& call, absl::string_view name);
/// The client's deadline.
Deadline DeadlineOf(const grpc::CallbackServerContext& call, const Clock& clock);

/// Code and message unchanged; a message too long for the header that carries it is cut.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace portico
