#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "node/frontend/server_tls.h"

namespace grpc {
class Service;
}

namespace portico {

/// The gRPC listener of a node: one server for the services of all gRPC frontends. The destructor stops it.
class GrpcServer {
 public:
  struct Options {
    /// HOST:PORT; port 0 lets the system choose. Empty: no TCP listener.
    std::string address = "127.0.0.1:0";
    /// Path of a Unix socket to listen on, too; empty: none.
    std::string socket_path;
    /// Bytes of one message, in and out.
    int max_message_bytes = 256 << 20;
    ServerTls tls;
    /// gRPC's own channel arguments ("grpc.max_connection_age_ms" → "2000"); whole numbers are passed as such.
    std::vector<std::pair<std::string, std::string>> channel_arguments;
  };

  /// `services` are not owned and must outlive the server. UNAVAILABLE when the address is taken.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(Options options, std::vector<grpc::Service*> services);
  virtual ~GrpcServer() = default;

  /// HOST:PORT as bound.
  virtual const std::string& address() const = 0;
  /// As HttpServer::SetTls().
  virtual absl::Status SetTls(const ServerTls& tls) = 0;
  /// Stops accepting, waits for calls in hand at most `timeout`, then cancels them.
  virtual void Stop(absl::Duration timeout) = 0;
};

}  // namespace portico
