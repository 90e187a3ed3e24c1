#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/ref.h"
#include "transport/transport.h"
#include "transport/zmq_pack.h"

namespace portico {

/// Bytes that were given to libzmq for one peer and are not written yet. Counted down on libzmq's threads. Thread-safe.
class SendBudget final : public RefCounted {
 public:
  void Add(uint64_t bytes) { queued_.fetch_add(bytes, std::memory_order_relaxed); }
  void Remove(uint64_t bytes) { queued_.fetch_sub(bytes, std::memory_order_relaxed); }
  uint64_t queued() const { return queued_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> queued_{0};
};

/// What a socket's monitor tells of its connections.
struct ConnectionEvent {
  enum class Kind { kOther, kAccepted, kConnected, kReady, kRefused, kDisconnected };
  Kind kind = Kind::kOther;
  /// Of the connection where accepted, connected or disconnected.
  int fd = -1;
};

/// One message of a peer: on a ROUTER with the peer's routing id, which is empty elsewhere.
struct ReceivedMessage {
  std::string routing_id;
  std::vector<ReceivedFrame> frames;
};

/// The file descriptor of the connection that a frame came by; −1 where libzmq does not say. REQUIRES: made by
/// ZmqSocket.
int ConnectionOf(const ReceivedFrame& frame);

/// Owns one libzmq socket: the only place that knows libzmq's messages. Received frames own their libzmq message; sent
/// packs are handed over without a copy. A socket serves one thread at a time: its owner locks.
class ZmqSocket {
 public:
  ZmqSocket() = default;
  /// A DEALER that connects again by itself, and drops what was queued for a connection that is lost.
  /// `silence`: a peer that answers no ping for so long is lost; zero: a few seconds.
  static absl::StatusOr<ZmqSocket> Dealer(void* context, const PeerLimits& limits, const TransportSecurity& security,
                                          absl::Duration silence);
  /// A ROUTER; ZAP is asked under `zap_domain` who may come in.
  static absl::StatusOr<ZmqSocket> Router(void* context, const PeerLimits& limits, const TransportSecurity& security,
                                          const std::string& zap_domain);
  /// A REP.
  static absl::StatusOr<ZmqSocket> Responder(void* context);
  ZmqSocket(ZmqSocket&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  ZmqSocket& operator=(ZmqSocket&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~ZmqSocket();

  /// A socket that receives this one's ConnectionEvents. REQUIRES: called before Bind() and Connect().
  absl::StatusOr<ZmqSocket> Monitor(void* context);
  /// `listening`: a socket that listens at the address already; it stays the caller's. −1: libzmq makes one.
  absl::Status Bind(const std::string& address, int listening = -1);
  absl::Status Connect(const std::string& address);
  /// The address that is bound, with its port.
  std::string BoundAddress() const;

  /// Becomes readable when something changed; then Receive until it gives nothing.
  int fd() const;
  /// Whether a message waits.
  bool Readable() const;
  /// False when none waits. `message` is overwritten.
  bool Receive(ReceivedMessage* message);
  /// REQUIRES: made by Monitor(). False when none waits.
  bool ReceiveEvent(ConnectionEvent* event);
  /// Hands `pack` over; `budget` holds its bytes until they are written. `routing_id` is empty but on a ROUTER. False,
  /// and the pack untouched, while there is no connection.
  bool Send(absl::string_view routing_id, Pack* pack, const Ref<SendBudget>& budget);
  /// REQUIRES: made by Responder(), a request was received. Sends the frames, copied.
  void Answer(absl::Span<const absl::string_view> frames);

 private:
  explicit ZmqSocket(void* handle) : handle_(handle) {}
  absl::Status Configure(const PeerLimits& limits, const TransportSecurity& security);
  absl::Status Set(int option, int value);
  absl::Status SetText(int option, absl::string_view value);

  void* handle_ = nullptr;
};

/// The limit on a received frame that libzmq is told, and on the bytes of one message that is still coming in.
uint64_t MaxFrameBytes(const PeerLimits& limits);
uint64_t MaxUnfinishedBytes(const PeerLimits& limits);

}  // namespace portico
