#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "node/frontend/server_tls.h"

namespace grpc {
class ServerCredentials;
}

namespace portico {

/// Keys of a gRPC listener, which may change while it serves: every handshake asks for those that are new since the
/// last one; connections stay. Thread-safe; must outlive the server.
class GrpcKeys {
 public:
  explicit GrpcKeys(ServerTls tls) : tls_(std::move(tls)) {}

  /// INVALID_ARGUMENT for keys that are none, FAILED_PRECONDITION for keys that turn TLS or mutual TLS on or off: then
  /// nothing changes.
  absl::Status Set(const ServerTls& tls);
  /// Of one port.
  std::shared_ptr<grpc::ServerCredentials> NewCredentials();

  /// The keys where they are newer than `*generation`, which is then theirs; else none.
  std::unique_ptr<ServerTls> Newer(int64_t* generation) const;

 private:
  mutable Mutex mutex_;
  ServerTls tls_ ABSL_GUARDED_BY(mutex_);
  int64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace portico
