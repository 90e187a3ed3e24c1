#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/event_thread.h"
#include "base/status_macros.h"
#include "transport/stream_address.h"
#include "transport/stream_channel.h"
#include "transport/stream_listener.h"
#include "transport/stream_loop.h"
#include "transport/stream_parts.h"
#include "transport/transport.h"

namespace portico {
namespace {

std::unique_ptr<StreamSocket> PlainSocket(int fd) { return std::make_unique<StreamSocket>(fd); }

/// Owns the loops, over which channels and listeners are spread in turn.
class StreamTransport final : public Transport {
 public:
  StreamTransport(const StreamTransportOptions& options, const Clock& clock)
      : resolver_("stream-dns", clock), parts_{resolver_, options.heartbeat} {
    for (int i = 0; i < std::max(options.loops, 1); ++i) loops_.push_back(std::make_unique<StreamLoop>(clock));
  }

  absl::StatusOr<std::unique_ptr<Channel>> Connect(const std::string& endpoint, ChannelOptions options) override {
    ASSIGN_OR_RETURN(StreamEndpoint parsed, StreamEndpoint::Parse(endpoint, /*listening=*/false));
    StreamLoop& loop = NextLoop();
    return std::make_unique<StreamChannel>(
        loop, MakeRef<StreamChannelCore>(parts_, loop, endpoint, std::move(parsed), std::move(options), PlainSocket));
  }

  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& endpoint, CallHandler& handler,
                                                   ListenOptions options) override {
    ASSIGN_OR_RETURN(const StreamEndpoint parsed, StreamEndpoint::Parse(endpoint, /*listening=*/true));
    if (!parsed.loopback()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "listener '", endpoint, "': got an address off loopback, want 127.0.0.1; use grpc:// or zmq+tcp:// with keys"));
    }
    ASSIGN_OR_RETURN(ListeningSocket socket, ListeningSocket::Open(parsed));
    StreamLoop& loop = NextLoop();
    return std::make_unique<StreamListener>(
        loop, MakeRef<StreamListenerCore>(parts_, loop, handler, std::move(options), std::move(socket), PlainSocket));
  }

 private:
  StreamLoop& NextLoop() { return *loops_[next_loop_.fetch_add(1) % loops_.size()]; }

  std::vector<std::unique_ptr<StreamLoop>> loops_;
  std::atomic<uint64_t> next_loop_{0};
  // Goes first: what it resolves, it posts to a loop.
  EventThread resolver_;
  const StreamParts parts_;
};

}  // namespace

std::unique_ptr<Transport> NewStreamTransport(const StreamTransportOptions& options, const Clock& clock) {
  return std::make_unique<StreamTransport>(options, clock);
}

}  // namespace portico
