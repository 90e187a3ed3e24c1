#include <sys/un.h>
#include <zmq.h>

#include <algorithm>
#include <atomic>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "transport/stream_address.h"
#include "transport/transport.h"
#include "transport/zmq_channel.h"
#include "transport/zmq_listener.h"
#include "transport/zmq_reactor.h"
#include "transport/zmq_zap.h"

namespace portico {
namespace {

constexpr absl::string_view kTcp = "zmq+tcp://";
constexpr absl::string_view kIpc = "zmq+ipc://";

struct Address {
  /// As libzmq wants it.
  std::string text;
  /// Empty for tcp.
  std::string path;
  bool local = true;
};

absl::Status BadEndpoint(absl::string_view endpoint, absl::string_view want) {
  return absl::InvalidArgumentError(absl::StrCat("endpoint '", endpoint, "': want ", want));
}

bool IsLoopback(absl::string_view host) {
  return host == "localhost" || host == "[::1]" ||
         (absl::StartsWith(host, "127.") && host.find_first_not_of("0123456789.") == host.npos);
}

absl::StatusOr<Address> ParseAddress(absl::string_view endpoint, bool listening) {
  absl::string_view rest = endpoint;
  if (absl::ConsumePrefix(&rest, kIpc)) {
    if (rest.empty() || rest.size() >= sizeof(sockaddr_un::sun_path)) {
      return BadEndpoint(
          endpoint, absl::StrCat("a path of 1 to ", sizeof(sockaddr_un::sun_path) - 1, " bytes behind zmq+ipc://"));
    }
    return Address{absl::StrCat("ipc://", rest), std::string(rest), true};
  }
  if (!absl::ConsumePrefix(&rest, kTcp)) return BadEndpoint(endpoint, "zmq+tcp://HOST:PORT or zmq+ipc://PATH");
  const size_t colon = rest.rfind(':');
  uint32_t port = 0;
  if (colon == rest.npos || colon == 0 || !absl::SimpleAtoi(rest.substr(colon + 1), &port) || port > 65535 ||
      (port == 0 && !listening)) {
    return BadEndpoint(endpoint, listening ? "zmq+tcp://HOST:PORT with a port of 0 (any) to 65535"
                                           : "zmq+tcp://HOST:PORT with a port of 1 to 65535");
  }
  const absl::string_view host = rest.substr(0, colon);
  // libzmq binds to addresses only.
  const absl::string_view bound = listening && host == "localhost" ? "127.0.0.1" : host;
  return Address{absl::StrCat("tcp://", bound, ":", port), "", IsLoopback(host)};
}

/// Keys are set wholly or not at all.
absl::Status CheckSecurity(const TransportSecurity& security, bool listening) {
  const bool any = !security.own_public_key.empty() || !security.own_secret_key.empty() ||
                   !security.peer_public_key.empty() || !security.allowed_keys.empty();
  if (!any) return absl::OkStatus();
  RETURN_IF_ERROR(DecodeCurveKey("own_secret_key", security.own_secret_key).status());
  if (!listening) {
    RETURN_IF_ERROR(DecodeCurveKey("own_public_key", security.own_public_key).status());
    return DecodeCurveKey("peer_public_key", security.peer_public_key).status();
  }
  if (security.allowed_keys.empty()) {
    return absl::InvalidArgumentError(
        "listener: got keys without allowed_keys, want the keys of those who may connect");
  }
  for (const std::string& key : security.allowed_keys) RETURN_IF_ERROR(DecodeCurveKey("allowed_keys", key).status());
  return absl::OkStatus();
}

/// Owns libzmq's context and the reactors, over which channels and listeners are spread in turn.
class ZmqTransport final : public Transport {
 public:
  ZmqTransport(const ZmqTransportOptions& options, const Clock& clock) : context_(zmq_ctx_new()) {
    PORTICO_CHECK(context_ != nullptr);
    zmq_ctx_set(context_, ZMQ_IO_THREADS, std::max(options.io_threads, 1));
    zmq_ctx_set(context_, ZMQ_MAX_SOCKETS, 1 << 16);
    for (int i = 0; i < std::max(options.reactors, 1); ++i) reactors_.push_back(std::make_unique<ZmqReactor>(clock));
  }

  ~ZmqTransport() override {
    {
      MutexLock lock(&mutex_);
      if (gatekeeper_) reactors_[0]->RunAndWait([gatekeeper = gatekeeper_] { gatekeeper->Close(); });
    }
    reactors_.clear();
    zmq_ctx_term(context_);
  }

  absl::StatusOr<std::unique_ptr<Channel>> Connect(const std::string& endpoint, ChannelOptions options) override {
    ASSIGN_OR_RETURN(const Address address, ParseAddress(endpoint, /*listening=*/false));
    RETURN_IF_ERROR(WithContext(endpoint, CheckSecurity(options.security, /*listening=*/false)));
    // Over TCP the channel itself counts what comes, so that one large frame on a slow line is no silence.
    const absl::Duration silence = address.path.empty() ? absl::ZeroDuration() : options.dead_after;
    ASSIGN_OR_RETURN(ZmqSocket socket, ZmqSocket::Dealer(context_, options.limits, options.security, silence));
    ASSIGN_OR_RETURN(ZmqSocket monitor, socket.Monitor(context_));
    RETURN_IF_ERROR(WithContext(endpoint, socket.Connect(address.text)));
    ZmqReactor& reactor = NextReactor();
    return std::make_unique<ZmqChannel>(
        reactor, MakeRef<ZmqChannelCore>(reactor, endpoint, std::move(options), std::move(socket), std::move(monitor)));
  }

  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& endpoint, CallHandler& handler,
                                                   ListenOptions options) override {
    ASSIGN_OR_RETURN(const Address address, ParseAddress(endpoint, /*listening=*/true));
    RETURN_IF_ERROR(WithContext(endpoint, CheckSecurity(options.security, /*listening=*/true)));
    const bool secure = !options.security.own_secret_key.empty();
    if (!address.local && !secure) {
      return absl::FailedPreconditionError(
          absl::StrCat("listener '", endpoint,
                       "': got an address off loopback without keys, want CURVE keys and "
                       "allowed_keys; set them or listen on 127.0.0.1"));
    }
    // Listeners on one address would share a domain, but only one of them can be bound.
    const std::string domain = absl::StrCat(endpoint, "#", next_domain_.fetch_add(1));
    if (secure) RETURN_IF_ERROR(Guard(domain, options.security.allowed_keys));
    ASSIGN_OR_RETURN(ZmqSocket socket, ZmqSocket::Router(context_, options.limits, options.security, domain));
    ASSIGN_OR_RETURN(ZmqSocket monitor, socket.Monitor(context_));
    // A Unix socket's path is its only lock. libzmq would take it from whoever listens there, open it to all, and leave
    // it behind.
    ListeningSocket file;
    if (!address.path.empty()) {
      StreamEndpoint local;
      local.path = address.path;
      ASSIGN_OR_RETURN(file, ListeningSocket::Open(local));
    }
    RETURN_IF_ERROR(WithContext(endpoint, socket.Bind(address.text, file.fd())));
    ZmqReactor& reactor = NextReactor();
    const std::string bound = absl::StrCat("zmq+", socket.BoundAddress());
    return std::make_unique<ZmqListener>(
        reactor, MakeRef<ZmqListenerCore>(reactor, bound, handler, std::move(options), std::move(socket),
                                          std::move(monitor), std::move(file)));
  }

 private:
  ZmqReactor& NextReactor() { return *reactors_[next_reactor_.fetch_add(1) % reactors_.size()]; }

  absl::Status Guard(const std::string& domain, const std::vector<std::string>& keys) {
    MutexLock lock(&mutex_);
    if (!gatekeeper_) {
      ASSIGN_OR_RETURN(gatekeeper_, ZmqGatekeeper::Make(*reactors_[0], context_));
      reactors_[0]->Post([gatekeeper = gatekeeper_] { gatekeeper->Open(); });
    }
    gatekeeper_->Allow(domain, keys);
    return absl::OkStatus();
  }

  void* const context_;
  std::vector<std::unique_ptr<ZmqReactor>> reactors_;
  std::atomic<uint64_t> next_reactor_{0};
  std::atomic<uint64_t> next_domain_{0};
  Mutex mutex_;
  Ref<ZmqGatekeeper> gatekeeper_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<Transport> NewZmqTransport(const ZmqTransportOptions& options, const Clock& clock) {
  return std::make_unique<ZmqTransport>(options, clock);
}

}  // namespace portico
