#include <memory>
#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/event_thread.h"
#include "base/file.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "transport/foreign_channel.h"
#include "transport/grpc_parts.h"
#include "transport/rest_loop.h"

namespace portico {
namespace {

constexpr uint64_t kMaxSecretBytes = 64 << 10;

bool IsPem(absl::string_view text) { return absl::StrContains(text, "-----BEGIN "); }

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  if (path.empty()) return std::string();
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxSecretBytes));
  std::string token(absl::StripAsciiWhitespace(text));
  if (token.empty() || !absl::c_all_of(token, absl::ascii_isgraph)) {
    return absl::InvalidArgumentError(
        absl::StrCat("token_file '", path, "': got ", token.empty() ? "nothing" : "several words", ", want one token"));
  }
  return token;
}

/// The side that calls servers of somebody else's make; gRPC's own threads carry the calls, or one of the transport's
/// over REST; one more asks whether servers are ready.
class ForeignTransport final : public Transport {
 public:
  explicit ForeignTransport(const Clock& clock) : clock_(clock), events_("foreign-events", clock) { PinGrpcThreads(); }

  absl::StatusOr<std::unique_ptr<Channel>> Connect(const std::string& endpoint, ChannelOptions options) override {
    ASSIGN_OR_RETURN(ForeignEndpoint parsed, ForeignEndpoint::Parse(endpoint));
    const std::string subject = absl::StrCat("endpoint '", endpoint, "'");
    absl::StatusOr<std::string> token = ReadToken(parsed.token_file);
    if (!token.ok()) return WithContext(subject, token.status());
    ForeignWireOptions wire;
    wire.address = parsed.address;
    wire.tls = parsed.tls;
    wire.max_message_bytes = options.limits.max_message_bytes;
    // The node's keys are CURVE's or TLS's: only the latter mean anything here.
    const TransportSecurity& security = options.security;
    if (IsPem(security.peer_public_key)) wire.root_certificates = security.peer_public_key;
    if (IsPem(security.own_secret_key) && IsPem(security.own_public_key)) {
      wire.own_certificate = security.own_public_key;
      wire.own_key = security.own_secret_key;
    }
    if (!parsed.ca_file.empty()) {
      absl::StatusOr<std::string> roots = ReadFile(parsed.ca_file, kMaxSecretBytes);
      if (!roots.ok()) return WithContext(subject, roots.status());
      wire.root_certificates = *std::move(roots);
    }
    std::unique_ptr<ForeignApi> api = NewForeignApi(parsed);
    absl::StatusOr<std::unique_ptr<ForeignWire>> made = NewWire(parsed.wire, wire);
    if (!made.ok()) return WithContext(subject, made.status());
    return std::make_unique<ForeignChannel>(endpoint, std::move(parsed), *std::move(token), std::move(api),
                                            *std::move(made), std::move(options), events_, clock_);
  }

  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& endpoint, CallHandler&, ListenOptions) override {
    return absl::UnimplementedError(absl::StrCat(
        "endpoint '", endpoint,
        "': got a scheme that peers do not listen at, want tcp, unix, zmq+tcp, zmq+ipc or grpc; clients of these APIs "
        "are served by --grpc and --http"));
  }

 private:
  absl::StatusOr<std::unique_ptr<ForeignWire>> NewWire(ForeignEndpoint::Wire wire, const ForeignWireOptions& options) {
    if (wire == ForeignEndpoint::Wire::kGrpc) return NewForeignGrpcWire(options);
    MutexLock lock(&mutex_);
    if (rest_ == nullptr) rest_ = std::make_unique<RestLoop>();
    return NewForeignRestWire(options, *rest_);
  }

  const Clock& clock_;
  EventThread events_;
  Mutex mutex_;
  /// With the first endpoint over REST.
  std::unique_ptr<RestLoop> rest_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<Transport> NewForeignTransport(const Clock& clock) { return std::make_unique<ForeignTransport>(clock); }

}  // namespace portico
