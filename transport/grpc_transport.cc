#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "transport/grpc_parts.h"
#include "transport/transport.h"

namespace portico {
namespace {

/// Keeps gRPC's callback threads until the process ends. gRPC 1.51 stops them with the last channel or server that uses
/// callbacks, and now and then aborts when it does (grpc_cq_internal_unref on its own thread).
class CallbackThreads {
 public:
  static void Pin() {
    // Atomic, so that the pointer stays even where nobody reads it, and leak checkers see that it is held.
    static std::atomic<CallbackThreads*> pinned{new CallbackThreads};
    (void)pinned.load(std::memory_order_relaxed);
  }

 private:
  /// A channel holds the threads from its first call on; this one's is over before it begins.
  CallbackThreads() : stub_(grpc::CreateChannel("unix:portico-callback-threads", grpc::InsecureChannelCredentials())) {
    const grpc::Slice nothing("");
    request_ = grpc::ByteBuffer(&nothing, 1);
    context_.set_deadline(std::chrono::system_clock::time_point());
    stub_.UnaryCall(&context_, "/portico.Peer/None", grpc::StubOptions(), &request_, &response_, [](grpc::Status) {});
  }
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
};

/// gRPC's own threads carry the calls; one more makes new attempts to connect.
class GrpcTransport final : public Transport {
 public:
  explicit GrpcTransport(const Clock& clock) : clock_(clock), events_("grpc-events", clock) { PinGrpcThreads(); }

  absl::StatusOr<std::unique_ptr<Channel>> Connect(const std::string& endpoint, ChannelOptions options) override {
    ASSIGN_OR_RETURN(const GrpcEndpoint parsed, GrpcEndpoint::Parse(endpoint));
    return NewGrpcChannel(endpoint, parsed, std::move(options), events_, clock_);
  }

  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& endpoint, CallHandler& handler,
                                                   ListenOptions options) override {
    ASSIGN_OR_RETURN(const GrpcEndpoint parsed, GrpcEndpoint::Parse(endpoint));
    const TransportSecurity& security = options.security;
    if (security.own_secret_key.empty()) {
      if (!parsed.loopback()) {
        return absl::FailedPreconditionError(absl::StrCat("endpoint '", endpoint,
                                                          "': got no TLS keys off loopback, want keys and ",
                                                          "an allow-list; or listen on 127.0.0.1"));
      }
    } else if (security.own_public_key.empty() || security.allowed_keys.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("endpoint '", endpoint, "': got a TLS key without a certificate or an allow-list, want both"));
    }
    return NewGrpcListener(parsed, handler, std::move(options));
  }

 private:
  const Clock& clock_;
  EventThread events_;
};

}  // namespace

void PinGrpcThreads() { CallbackThreads::Pin(); }

absl::StatusOr<GrpcEndpoint> GrpcEndpoint::Parse(const std::string& endpoint) {
  GrpcEndpoint parsed;
  absl::string_view rest = endpoint;
  const bool scheme = absl::ConsumePrefix(&rest, "grpc://");
  const size_t colon = rest.rfind(':');
  int port = -1;
  if (!scheme || colon == 0 || colon == absl::string_view::npos || !absl::SimpleAtoi(rest.substr(colon + 1), &port) ||
      port < 0 || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("endpoint: got '", endpoint, "', want grpc://HOST:PORT"));
  }
  parsed.address = std::string(rest);
  absl::string_view host = rest.substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  parsed.host = std::string(host);
  return parsed;
}

bool GrpcEndpoint::loopback() const { return host == "localhost" || host == "::1" || absl::StartsWith(host, "127."); }

std::unique_ptr<Transport> NewGrpcTransport(const Clock& clock) { return std::make_unique<GrpcTransport>(clock); }

}  // namespace portico
