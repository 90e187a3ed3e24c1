#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "base/deadline.h"
#include "base/digest.h"
#include "base/tensor.h"
#include "transport/peer_header.h"

namespace portico {

/// A received header with its tensors. `header`'s views live as long as `origin`; so does each tensor, on its own.
struct PeerMessage {
  PeerHeader header;
  std::vector<Tensor> tensors;
  Ref<TensorOrigin> origin;
  /// On the serving side: the connection it came by, unique within the listener's process; with header.call_id it names
  /// the call.
  uint64_t connection = 0;
};

/// What a peer said of itself, or that it is gone.
struct PeerState {
  bool connected = false;
  uint64_t incarnation = 0;
  std::string node;
  struct Served {
    std::string name;
    int64_t version = 0;
    Digest digest;
  };
  std::vector<Served> served;
  /// What is not in `served` is not there, be it that nothing is loaded yet. False: a list of none says nothing.
  bool lists_all = false;
};

/// The calling side: one endpoint. Thread-safe. Any number of calls may be in flight.
class Channel {
 public:
  /// Exactly once per call, on a thread of the transport that must not be blocked or made to compute, or inside Call()
  /// for what is refused at once (in process: for any answer). A status is the transport's own: UNAVAILABLE (no
  /// connection, peer lost, peer restarted: the message says whether the call was sent), DEADLINE_EXCEEDED,
  /// RESOURCE_EXHAUSTED (the peer's window is full: its limit and fill are named), CANCELLED. What the peer answered,
  /// errors too, is a PeerMessage of kind kReply.
  using Done = absl::AnyInvocable<void(absl::StatusOr<PeerMessage>)>;

  /// Stop() semantics: calls in flight complete with CANCELLED before the destructor returns.
  virtual ~Channel() = default;

  /// `header`: a call; kind, call_id, timeout_us and tensors' dtype, shape and bytes are filled in here (names are the
  /// caller's: `header.tensors` is empty or has one entry per tensor). Its views need to live during the call only.
  /// Small tensors are copied, large ones sent in place. Never blocks. Returns an id for Cancel().
  virtual uint64_t Call(const PeerHeader& header, absl::Span<const Tensor> tensors, Deadline deadline, Done done) = 0;

  /// Completes the call with CANCELLED unless it is complete, and tells the peer.
  virtual void Cancel(uint64_t call_id) = 0;
};

/// Answers one call, from any thread. Calling it consumes it; one dropped without a call answers INTERNAL.
/// `header`: a reply; kind, call_id and tensor metas are filled in.
using PeerReply = absl::AnyInvocable<void(const PeerHeader& header, absl::Span<const Tensor> tensors)>;

/// The serving side.
class CallHandler {
 public:
  virtual ~CallHandler() = default;
  /// On a thread of the transport: hands off fast. `call.header.kind` is kCall. Called by many threads at once.
  virtual void OnCall(PeerMessage call, PeerReply reply) = 0;
  /// The caller of `call_id` on connection `connection` no longer wants the answer. Never before OnCall() of that call
  /// has returned; it may come twice, and though the call is answered already.
  virtual void OnCancel(uint64_t connection, uint64_t call_id) {}
};

/// A bound endpoint. The destructor stops it: no new calls; calls in hand are answered or dropped.
class Listener {
 public:
  virtual ~Listener() = default;
  /// With the port that was chosen where the endpoint said 0.
  virtual const std::string& endpoint() const = 0;
  /// Tells connected peers what this node serves now (a HELLO each). Thread-safe.
  virtual void Announce(const PeerState& self) = 0;
  /// Sends GOAWAY: peers start no new calls here; calls in hand go on.
  virtual void GoAway() = 0;
};

/// CURVE or TLS of one side.
struct TransportSecurity {
  /// CURVE: Z85 of 40 characters each; empty: plain. TLS: PEM contents.
  std::string own_public_key;
  std::string own_secret_key;
  /// Calling side: the key (CURVE) or the root certificates (TLS) of the peer.
  std::string peer_public_key;
  /// Serving side: who may connect. Never empty where keys are set.
  std::vector<std::string> allowed_keys;
};

struct ChannelOptions {
  /// Calls in flight to one peer; more are refused.
  uint32_t max_calls = 16384;
  /// Bytes of tensors in flight to one peer.
  uint64_t max_bytes = uint64_t{1} << 30;
  /// How long first calls wait for the first connection; then calls fail with UNAVAILABLE until there is one.
  absl::Duration connect_timeout = absl::Seconds(1);
  /// A peer that has calls of ours in hand and gives no sign of life for so long is lost, whereupon they fail with
  /// UNAVAILABLE; more where the peer promises less. 0: as long as without calls, some 5 s.
  absl::Duration dead_after = absl::Milliseconds(1500);
  PeerLimits limits;
  TransportSecurity security;
  /// What this side says of itself in its HELLO.
  PeerState self;
  /// Told of every change, on a thread of the transport. May be empty.
  std::function<void(const PeerState&)> on_state;
};

struct ListenOptions {
  PeerLimits limits;
  TransportSecurity security;
  PeerState self;
  /// Connections at once; more are closed.
  uint32_t max_connections = 4096;
  /// Replies queued for one peer; a peer that does not read them is cut.
  uint64_t max_reply_bytes = uint64_t{1} << 30;
};

/// A way to move tensors, under one or more URL schemes. Knows no models. Owns its threads; channels and listeners must
/// be destroyed before it. Thread-safe.
class Transport {
 public:
  virtual ~Transport() = default;
  /// Never blocks: connecting goes on in the background, and again after a loss. INVALID_ARGUMENT for an endpoint it
  /// cannot read.
  virtual absl::StatusOr<std::unique_ptr<Channel>> Connect(const std::string& endpoint, ChannelOptions options) = 0;
  /// `handler` is not owned and must outlive the listener. An endpoint off loopback without security is refused
  /// (FAILED_PRECONDITION).
  virtual absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& endpoint, CallHandler& handler,
                                                           ListenOptions options) = 0;
};

/// `zmq+tcp://HOST:PORT`, `zmq+ipc://PATH`. `reactors`: threads that own sockets.
struct ZmqTransportOptions {
  int reactors = 1;
  int io_threads = 1;
};
std::unique_ptr<Transport> NewZmqTransport(const ZmqTransportOptions& options, const Clock& clock);
/// `tcp://HOST:PORT`, `unix:///PATH`, `shm:///PATH`. `loops`: threads that read and write. Each side gives a sign of
/// life every `heartbeat`, and every `pace` where it has calls in hand; a peer that gave none for five heartbeats is
/// lost, one that has calls in hand sooner (ChannelOptions::dead_after). `spin`: how long a thread that has run out of
/// work looks for more before it sleeps (transport/spin.h). `shm_arena_bytes`: memory for large tensors on their way in
/// one direction of a `shm://` connection that this side accepts; taken when it is needed.
struct StreamTransportOptions {
  int loops = 1;
  absl::Duration heartbeat = absl::Seconds(1);
  absl::Duration pace = absl::Milliseconds(250);
  absl::Duration spin = absl::ZeroDuration();
  uint64_t shm_arena_bytes = uint64_t{64} << 20;
};
std::unique_ptr<Transport> NewStreamTransport(const StreamTransportOptions& options, const Clock& clock);
/// `grpc://HOST:PORT`.
std::unique_ptr<Transport> NewGrpcTransport(const Clock& clock);
/// `inproc://NAME`: within one Transport object.
std::unique_ptr<Transport> NewInprocTransport(const Clock& clock);

/// `tfs+grpc://HOST:PORT`, `v2+grpc://…`, `tfs+http://…`, `v2+http://…` (`grpcs`, `https`: TLS): servers of the
/// TensorFlow Serving API and of the Open Inference Protocol that nobody here wrote. Calls only: Listen() is
/// UNIMPLEMENTED. docs/foreign_servers.md.
std::unique_ptr<Transport> NewForeignTransport(const Clock& clock);

struct TransportsOptions {
  ZmqTransportOptions zmq;
  StreamTransportOptions stream;
};
/// All transports by scheme: what a node holds one of. Listen() and Connect() go to the transport of the endpoint's
/// scheme; an unknown scheme is INVALID_ARGUMENT with the list of known ones.
std::unique_ptr<Transport> NewTransports(const TransportsOptions& options, const Clock& clock);

}  // namespace portico
