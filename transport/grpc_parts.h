#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/event_thread.h"
#include "transport/transport.h"

namespace portico {

/// `grpc://HOST:PORT` taken apart.
struct GrpcEndpoint {
  /// As gRPC wants it: HOST:PORT, an IPv6 host in brackets.
  std::string address;
  /// Without brackets.
  std::string host;

  bool loopback() const;
  /// INVALID_ARGUMENT for another form.
  static absl::StatusOr<GrpcEndpoint> Parse(const std::string& endpoint);
};

/// Keeps gRPC's callback threads until the process ends; every transport over gRPC calls it once or more.
void PinGrpcThreads();

/// What the gRPC transport is made of; transport.h says what they do. `events` and `clock` are not owned and must
/// outlive the channel.
std::unique_ptr<Channel> NewGrpcChannel(const std::string& endpoint, const GrpcEndpoint& parsed, ChannelOptions options,
                                        EventThread& events, const Clock& clock);
absl::StatusOr<std::unique_ptr<Listener>> NewGrpcListener(const GrpcEndpoint& parsed, CallHandler& handler,
                                                          ListenOptions options);

}  // namespace portico
