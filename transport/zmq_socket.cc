#include "transport/zmq_socket.h"

#include <fcntl.h>
#include <zmq.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace portico {
namespace {

absl::Status ZmqError(absl::string_view what) {
  const int error = zmq_errno();
  const std::string message = absl::StrCat("ZeroMQ ", what, ": ", zmq_strerror(error));
  switch (error) {
    case EINVAL:
    case ENODEV:
    case EPROTONOSUPPORT:
      return absl::InvalidArgumentError(message);
    case EADDRINUSE:
      return absl::AlreadyExistsError(message);
    case EACCES:
      return absl::PermissionDeniedError(message);
    case EMFILE:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

/// Keeps a received libzmq message, and with it the frame's bytes.
class ReceivedOrigin final : public TensorOrigin {
 public:
  /// Takes `message` over; it is left empty.
  explicit ReceivedOrigin(zmq_msg_t* message) : TensorOrigin(zmq_msg_size(message)) {
    zmq_msg_init(&message_);
    zmq_msg_move(&message_, message);
  }
  ~ReceivedOrigin() override { zmq_msg_close(&message_); }
  absl::string_view bytes() { return {static_cast<const char*>(zmq_msg_data(&message_)), zmq_msg_size(&message_)}; }
  int connection() {
    // The metadata is there with every message of a connection that libzmq itself made.
    const char* fd = zmq_msg_gets(&message_, "__fd");
    return fd == nullptr ? -1 : std::atoi(fd);
  }

 private:
  zmq_msg_t message_;
};

/// Bytes on their way through libzmq: made by the sender, freed by a thread of libzmq.
class SentBlock {
 public:
  SentBlock(Ref<SendBudget> budget, std::string head) : head_(std::move(head)), budget_(std::move(budget)) {
    Publish(head_.size());
  }
  SentBlock(Ref<SendBudget> budget, const Tensor& tensor) : origin_(tensor.origin()), budget_(std::move(budget)) {
    Publish(tensor.bytes().size());
  }
  static void Free(void* data, void* hint) {
    auto* block = static_cast<SentBlock*>(hint);
    // Pairs with Publish(): libzmq orders the two by means that ThreadSanitizer does not see.
    block->published_.load(std::memory_order_acquire);
    block->budget_->Remove(block->bytes_);
    delete block;
  }
  std::string& head() { return head_; }

 private:
  void Publish(uint64_t bytes) {
    bytes_ = bytes;
    budget_->Add(bytes);
    published_.store(true, std::memory_order_release);
  }

  std::string head_;
  Ref<TensorOrigin> origin_;
  Ref<SendBudget> budget_;
  uint64_t bytes_ = 0;
  std::atomic<bool> published_{false};
};

void SendFrame(void* handle, const void* data, size_t size, SentBlock* block, int flags) {
  zmq_msg_t message;
  PORTICO_CHECK(zmq_msg_init_data(&message, const_cast<void*>(data), size, &SentBlock::Free, block) == 0);
  // Behind a first frame that was taken, libzmq takes or silently drops the rest.
  if (zmq_msg_send(&message, handle, ZMQ_DONTWAIT | flags) < 0) zmq_msg_close(&message);
}

ConnectionEvent::Kind KindOfEvent(uint16_t event) {
  switch (event) {
    case ZMQ_EVENT_ACCEPTED:
      return ConnectionEvent::Kind::kAccepted;
    case ZMQ_EVENT_CONNECTED:
      return ConnectionEvent::Kind::kConnected;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
      return ConnectionEvent::Kind::kReady;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
      return ConnectionEvent::Kind::kRefused;
    case ZMQ_EVENT_DISCONNECTED:
      return ConnectionEvent::Kind::kDisconnected;
    default:
      return ConnectionEvent::Kind::kOther;
  }
}

// Messages of one peer that libzmq reads ahead of us; beyond, TCP slows the peer down.
constexpr int kReadAhead = 256;
constexpr int kHandshakeMs = 10'000;
constexpr int kReconnectMs = 50;
constexpr int kReconnectMaxMs = 500;
// Behind a network that is cut, the kernel would ask ever more rarely.
constexpr int kConnectMs = 1'200;
// Of who calls: the answers are what tells it that its peer lives.
constexpr int kPingMs = 250;
constexpr int kHeartbeatMs = 500;
constexpr int kHeartbeatTimeoutMs = 5'000;
// After Stop() the last answers still get out, but a peer that does not read holds nobody up for long.
constexpr int kRouterLingerMs = 500;

}  // namespace

uint64_t MaxFrameBytes(const PeerLimits& limits) {
  const uint64_t head = (uint64_t{128} << 10) + limits.max_header_bytes + limits.max_tensors * kPackInlineBytes;
  return std::max(head, limits.max_frame_bytes);
}

uint64_t MaxUnfinishedBytes(const PeerLimits& limits) {
  // A pack is closed once its large tensors are over 1 MiB, so beyond one message of the largest size it holds little.
  return limits.max_message_bytes + (uint64_t{4} << 20) + limits.max_header_bytes +
         limits.max_tensors * kPackInlineBytes;
}

int ConnectionOf(const ReceivedFrame& frame) { return static_cast<ReceivedOrigin*>(frame.origin.get())->connection(); }

ZmqSocket::~ZmqSocket() {
  if (handle_ == nullptr) return;
  // Before it is closed: libzmq loses the memory of an event that it can no longer send, since the context ends.
  zmq_socket_monitor(handle_, nullptr, 0);
  zmq_close(handle_);
}

absl::Status ZmqSocket::Set(int option, int value) {
  return zmq_setsockopt(handle_, option, &value, sizeof(value)) == 0 ? absl::OkStatus() : ZmqError("socket option");
}

absl::Status ZmqSocket::SetText(int option, absl::string_view value) {
  return zmq_setsockopt(handle_, option, value.data(), value.size()) == 0 ? absl::OkStatus()
                                                                          : ZmqError("socket option");
}

absl::Status ZmqSocket::Configure(const PeerLimits& limits, const TransportSecurity& security) {
  const auto max_frame = static_cast<int64_t>(MaxFrameBytes(limits));
  if (zmq_setsockopt(handle_, ZMQ_MAXMSGSIZE, &max_frame, sizeof(max_frame)) != 0) return ZmqError("socket option");
  RETURN_IF_ERROR(Set(ZMQ_SNDHWM, 0));
  RETURN_IF_ERROR(Set(ZMQ_RCVHWM, kReadAhead));
  RETURN_IF_ERROR(Set(ZMQ_HANDSHAKE_IVL, kHandshakeMs));
  RETURN_IF_ERROR(Set(ZMQ_HEARTBEAT_IVL, kHeartbeatMs));
  RETURN_IF_ERROR(Set(ZMQ_HEARTBEAT_TIMEOUT, kHeartbeatTimeoutMs));
  if (security.own_secret_key.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(SetText(ZMQ_CURVE_SECRETKEY, absl::string_view(security.own_secret_key.c_str(), 41)));
  return absl::OkStatus();
}

absl::StatusOr<ZmqSocket> ZmqSocket::Dealer(void* context, const PeerLimits& limits, const TransportSecurity& security,
                                            absl::Duration silence) {
  ZmqSocket socket(zmq_socket(context, ZMQ_DEALER));
  if (socket.handle_ == nullptr) return ZmqError("socket");
  RETURN_IF_ERROR(socket.Set(ZMQ_LINGER, 0));
  RETURN_IF_ERROR(socket.Set(ZMQ_IMMEDIATE, 1));
  RETURN_IF_ERROR(socket.Set(ZMQ_IPV6, 1));
  RETURN_IF_ERROR(socket.Set(ZMQ_RECONNECT_IVL, kReconnectMs));
  RETURN_IF_ERROR(socket.Set(ZMQ_RECONNECT_IVL_MAX, kReconnectMaxMs));
  RETURN_IF_ERROR(socket.Set(ZMQ_CONNECT_TIMEOUT, kConnectMs));
  RETURN_IF_ERROR(socket.Configure(limits, security));
  RETURN_IF_ERROR(socket.Set(ZMQ_HEARTBEAT_IVL, kPingMs));
  if (silence > absl::ZeroDuration()) {
    RETURN_IF_ERROR(socket.Set(ZMQ_HEARTBEAT_TIMEOUT, static_cast<int>(absl::ToInt64Milliseconds(silence))));
  }
  if (!security.own_secret_key.empty()) {
    RETURN_IF_ERROR(socket.SetText(ZMQ_CURVE_PUBLICKEY, absl::string_view(security.own_public_key.c_str(), 41)));
    RETURN_IF_ERROR(socket.SetText(ZMQ_CURVE_SERVERKEY, absl::string_view(security.peer_public_key.c_str(), 41)));
  }
  return socket;
}

absl::StatusOr<ZmqSocket> ZmqSocket::Router(void* context, const PeerLimits& limits, const TransportSecurity& security,
                                            const std::string& zap_domain) {
  ZmqSocket socket(zmq_socket(context, ZMQ_ROUTER));
  if (socket.handle_ == nullptr) return ZmqError("socket");
  RETURN_IF_ERROR(socket.Set(ZMQ_LINGER, kRouterLingerMs));
  RETURN_IF_ERROR(socket.Configure(limits, security));
  if (!security.own_secret_key.empty()) RETURN_IF_ERROR(socket.Set(ZMQ_CURVE_SERVER, 1));
  // Also without keys: with a domain, libzmq refuses peers of ZMTP 1 and 2 (and noise that looks like them), whose
  // handshake aborts the process if the socket is closed in the middle of it.
  RETURN_IF_ERROR(socket.SetText(ZMQ_ZAP_DOMAIN, zap_domain));
  return socket;
}

absl::StatusOr<ZmqSocket> ZmqSocket::Responder(void* context) {
  ZmqSocket socket(zmq_socket(context, ZMQ_REP));
  if (socket.handle_ == nullptr) return ZmqError("socket");
  RETURN_IF_ERROR(socket.Set(ZMQ_LINGER, 0));
  return socket;
}

absl::StatusOr<ZmqSocket> ZmqSocket::Monitor(void* context) {
  // Unique within the process; the address of the socket would come again.
  static std::atomic<uint64_t> next{0};
  const std::string address = absl::StrCat("inproc://monitor-", next.fetch_add(1));
  constexpr int kEvents = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_CONNECTED | ZMQ_EVENT_DISCONNECTED |
                          ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                          ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
  if (zmq_socket_monitor(handle_, address.c_str(), kEvents) != 0) return ZmqError("monitor");
  ZmqSocket monitor(zmq_socket(context, ZMQ_PAIR));
  if (monitor.handle_ == nullptr) return ZmqError("socket");
  RETURN_IF_ERROR(monitor.Set(ZMQ_LINGER, 0));
  RETURN_IF_ERROR(monitor.Set(ZMQ_RCVHWM, 0));
  RETURN_IF_ERROR(monitor.Connect(address));
  return monitor;
}

absl::Status ZmqSocket::Bind(const std::string& address, int listening) {
  if (listening >= 0) {
    // libzmq closes what it is given.
    const int own = fcntl(listening, F_DUPFD_CLOEXEC, 0);
    if (own < 0) return ErrnoStatus(errno, "copy the socket of", address);
    RETURN_IF_ERROR(Set(ZMQ_USE_FD, own));
  }
  // Only where asked for: libzmq would write an IPv4 address as one of IPv6.
  RETURN_IF_ERROR(Set(ZMQ_IPV6, absl::StartsWith(address, "tcp://[") ? 1 : 0));
  return zmq_bind(handle_, address.c_str()) == 0 ? absl::OkStatus() : ZmqError("bind");
}

absl::Status ZmqSocket::Connect(const std::string& address) {
  return zmq_connect(handle_, address.c_str()) == 0 ? absl::OkStatus() : ZmqError("connect");
}

std::string ZmqSocket::BoundAddress() const {
  char address[512];
  size_t size = sizeof(address);
  PORTICO_CHECK(zmq_getsockopt(handle_, ZMQ_LAST_ENDPOINT, address, &size) == 0);
  return std::string(address);
}

int ZmqSocket::fd() const {
  int fd = -1;
  size_t size = sizeof(fd);
  PORTICO_CHECK(zmq_getsockopt(handle_, ZMQ_FD, &fd, &size) == 0);
  return fd;
}

bool ZmqSocket::Readable() const {
  int events = 0;
  size_t size = sizeof(events);
  return zmq_getsockopt(handle_, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
}

bool ZmqSocket::Receive(ReceivedMessage* message) {
  message->routing_id.clear();
  message->frames.clear();
  zmq_msg_t frame;
  zmq_msg_init(&frame);
  if (zmq_msg_recv(&frame, handle_, ZMQ_DONTWAIT) < 0) return false;
  int type = 0;
  size_t size = sizeof(type);
  zmq_getsockopt(handle_, ZMQ_TYPE, &type, &size);
  if (type == ZMQ_ROUTER) {
    message->routing_id.assign(static_cast<const char*>(zmq_msg_data(&frame)), zmq_msg_size(&frame));
    // The other frames of a message are there once its first one is.
    PORTICO_CHECK(zmq_msg_recv(&frame, handle_, ZMQ_DONTWAIT) >= 0);
  }
  for (;;) {
    const bool more = zmq_msg_more(&frame) != 0;
    const Ref<ReceivedOrigin> origin = MakeRef<ReceivedOrigin>(&frame);
    message->frames.push_back({origin->bytes(), origin});
    if (!more) return true;
    PORTICO_CHECK(zmq_msg_recv(&frame, handle_, ZMQ_DONTWAIT) >= 0);
  }
}

bool ZmqSocket::ReceiveEvent(ConnectionEvent* event) {
  zmq_msg_t frame;
  zmq_msg_init(&frame);
  if (zmq_msg_recv(&frame, handle_, ZMQ_DONTWAIT) < 0) return false;
  uint16_t number = 0;
  int32_t value = -1;
  if (zmq_msg_size(&frame) == sizeof(number) + sizeof(value)) {
    const char* data = static_cast<const char*>(zmq_msg_data(&frame));
    std::memcpy(&number, data, sizeof(number));
    std::memcpy(&value, data + sizeof(number), sizeof(value));
  }
  // The second frame is the address.
  while (zmq_msg_more(&frame) != 0 && zmq_msg_recv(&frame, handle_, ZMQ_DONTWAIT) >= 0) {
  }
  zmq_msg_close(&frame);
  *event = {KindOfEvent(number), value};
  return true;
}

bool ZmqSocket::Send(absl::string_view routing_id, Pack* pack, const Ref<SendBudget>& budget) {
  if (!routing_id.empty() && zmq_send(handle_, routing_id.data(), routing_id.size(), ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
    return false;
  auto* block = new SentBlock(budget, std::move(pack->head));
  zmq_msg_t head;
  PORTICO_CHECK(zmq_msg_init_data(&head, block->head().data(), block->head().size(), &SentBlock::Free, block) == 0);
  if (zmq_msg_send(&head, handle_, ZMQ_DONTWAIT | (pack->frames.empty() ? 0 : ZMQ_SNDMORE)) < 0) {
    pack->head = std::move(block->head());
    zmq_msg_close(&head);
    return false;
  }
  for (size_t i = 0; i < pack->frames.size(); ++i) {
    const Tensor& tensor = pack->frames[i];
    SendFrame(handle_, tensor.bytes().data(), tensor.bytes().size(), new SentBlock(budget, tensor),
              i + 1 < pack->frames.size() ? ZMQ_SNDMORE : 0);
  }
  return true;
}

void ZmqSocket::Answer(absl::Span<const absl::string_view> frames) {
  for (size_t i = 0; i < frames.size(); ++i) {
    zmq_send(handle_, frames[i].data(), frames[i].size(), ZMQ_DONTWAIT | (i + 1 < frames.size() ? ZMQ_SNDMORE : 0));
  }
}

}  // namespace portico
