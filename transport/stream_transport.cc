#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/event_thread.h"
#include "base/status_macros.h"
#include "transport/shm_socket.h"
#include "transport/stream_address.h"
#include "transport/stream_channel.h"
#include "transport/stream_listener.h"
#include "transport/stream_loops.h"
#include "transport/stream_parts.h"
#include "transport/stream_tls.h"
#include "transport/transport.h"

namespace portico {
namespace {

std::unique_ptr<StreamSocket> PlainSocket(int fd) { return std::make_unique<StreamSocket>(fd); }

StreamParts PartsOf(const StreamTransportOptions& options, StreamLoops& loops, EventThread& resolver) {
  StreamParts parts{loops, resolver, options.heartbeat, std::min(options.heartbeat, options.pace)};
  parts.heartbeat_ticks = static_cast<int>(std::ceil(absl::FDivDuration(parts.heartbeat, parts.tick)));
  parts.silent_ticks *= parts.heartbeat_ticks;
  return parts;
}

/// Owns the loops, over which channels, listeners and their connections are spread in turn.
class StreamTransport final : public Transport {
 public:
  StreamTransport(const StreamTransportOptions& options, const Clock& clock)
      : shm_sizes_{.arena_bytes = options.shm_arena_bytes},
        loops_(std::max(options.loops, 1), clock, options.spin),
        resolver_("stream-dns", clock),
        parts_(PartsOf(options, loops_, resolver_)) {}

  absl::StatusOr<std::unique_ptr<Channel>> Connect(const std::string& endpoint, ChannelOptions options) override {
    ASSIGN_OR_RETURN(StreamEndpoint parsed, StreamEndpoint::Parse(endpoint, /*listening=*/false));
    SocketMaker make_socket = parsed.shared_memory ? ShmClientSockets() : PlainSocket;
    // A Unix socket is guarded by its file's mode and by CheckUnixPeer(): a node's keys are for the others.
    if (!parsed.local() && !options.security.peer_public_key.empty()) {
      ASSIGN_OR_RETURN(make_socket, TlsClientSockets(options.security, parsed.host));
    }
    StreamLoop& loop = loops_.Next();
    return std::make_unique<StreamChannel>(
        loop, MakeRef<StreamChannelCore>(parts_, loop, endpoint, std::move(parsed), std::move(options),
                                         std::move(make_socket)));
  }

  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& endpoint, CallHandler& handler,
                                                   ListenOptions options) override {
    ASSIGN_OR_RETURN(const StreamEndpoint parsed, StreamEndpoint::Parse(endpoint, /*listening=*/true));
    const TransportSecurity& security = options.security;
    SocketMaker make_socket = parsed.shared_memory ? ShmServerSockets(shm_sizes_) : PlainSocket;
    if (parsed.shared_memory) RETURN_IF_ERROR(shm_sizes_.Check());
    if (!parsed.local() && !security.own_secret_key.empty()) {
      if (security.own_public_key.empty() || security.allowed_keys.empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat("endpoint '", endpoint, "': got a TLS key without a certificate or an allow-list, want both"));
      }
      ASSIGN_OR_RETURN(make_socket, TlsServerSockets(security));
    } else if (!parsed.loopback()) {
      return absl::FailedPreconditionError(
          absl::StrCat("endpoint '", endpoint,
                       "': got no TLS keys off loopback, want keys and an allow-list; or listen on 127.0.0.1"));
    }
    ASSIGN_OR_RETURN(ListeningSocket socket, ListeningSocket::Open(parsed));
    StreamLoop& loop = loops_.Next();
    return std::make_unique<StreamListener>(
        loop, MakeRef<StreamListenerCore>(parts_, loop, handler, std::move(options), std::move(socket),
                                          std::move(make_socket)));
  }

 private:
  const ShmSizes shm_sizes_;
  StreamLoops loops_;
  // Goes first: what it resolves, it posts to a loop.
  EventThread resolver_;
  const StreamParts parts_;
};

}  // namespace

std::unique_ptr<Transport> NewStreamTransport(const StreamTransportOptions& options, const Clock& clock) {
  return std::make_unique<StreamTransport>(options, clock);
}

}  // namespace portico
