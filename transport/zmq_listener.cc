#include "transport/zmq_listener.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "transport/connection_id.h"
#include "transport/hello.h"
#include "transport/reply_ticket.h"

namespace portico {
namespace {

constexpr size_t kReceiveAtOnce = 64;
constexpr int kRoundsAtOnce = 16;
constexpr absl::Duration kCheckInterval = absl::Milliseconds(100);
// A connection that has not said HELLO by then only takes a place.
constexpr absl::Duration kGreetWithin = absl::Seconds(30);
// How long a closing listener waits for peers to take their last answers.
constexpr absl::Duration kFlushRound = absl::Milliseconds(1);
constexpr int kFlushRounds = 500;
/// What a peer's libzmq has received and its reactor has not yet read is lost when the connection ends: with
/// ZMQ_IMMEDIATE it drops the pipe. So the last replies get a moment to be read.
constexpr absl::Duration kSettle = absl::Milliseconds(20);

/// What a stranger may send before its HELLO is whole.
uint64_t MaxGreetingBytes(const PeerLimits& limits) { return limits.max_header_bytes + (64 << 10); }

}  // namespace

ZmqPeer::ZmqPeer(Ref<ZmqListenerCore> core, std::string routing_id, uint64_t connection, int fd)
    : core(std::move(core)), routing_id(std::move(routing_id)), connection(connection), fd(fd) {}

ZmqListenerCore::ZmqListenerCore(ZmqReactor& reactor, const std::string& endpoint, CallHandler& handler,
                                 ListenOptions options, ZmqSocket socket, ZmqSocket monitor, ListeningSocket file)
    : ZmqEndpoint(reactor),
      endpoint_(endpoint),
      options_(std::move(options)),
      handler_(handler),
      monitor_(std::move(monitor)),
      file_(std::move(file)),
      hello_(HelloHeader(options_.self)) {
  MutexLock lock(&socket_mutex_);
  socket_ = std::move(socket);
  fds_ = {socket_.fd(), monitor_.fd()};
}

void ZmqListenerCore::Open() {
  reactor_.Add(Ref<ZmqEndpoint>(this), fds_);
  MoveDue(absl::ToUnixNanos(reactor_.clock().Now() + kCheckInterval));
}

void ZmqListenerCore::Stop() {
  stopped_ = true;
  reactor_.Remove(*this, fds_);
  {
    MutexLock lock(&socket_mutex_);
    SendQueued();
  }
  for (auto& [fd, connection] : connections_) {
    if (connection.peer) flushing_.push_back(connection.peer->budget);
  }
  connections_.clear();
  peers_.clear();
  MutexLock lock(&mutex_);
  closed_ = true;
  to_send_.clear();
  overfull_.clear();
}

bool ZmqListenerCore::Flushed() const {
  return std::all_of(flushing_.begin(), flushing_.end(), [](const auto& budget) { return budget->queued() == 0; });
}

void ZmqListenerCore::WaitUntilFlushed() const {
  // libzmq's LINGER lets go of a message that it is in the middle of writing, so the wait is ours. Without an event for
  // it, and rarely more than one round.
  for (int i = 0; i < kFlushRounds && !Flushed(); ++i) absl::SleepFor(kFlushRound);
  if (!flushing_.empty()) absl::SleepFor(kSettle);
}

void ZmqListenerCore::Close() {
  MutexLock lock(&socket_mutex_);
  socket_ = ZmqSocket();
  monitor_ = ZmqSocket();
  file_ = ListeningSocket();
}

// --- Answers, on any thread ---

void ZmqPeer::Reply(uint64_t call_id, const PeerHeader& header, absl::Span<const Tensor> tensors) {
  core->Reply(*this, call_id, header, tensors);
}

void ZmqListenerCore::Reply(ZmqPeer& peer, uint64_t call_id, const PeerHeader& header,
                            absl::Span<const Tensor> tensors) {
  static thread_local std::string encoded;
  EncodeReply(header, call_id, options_.limits, &tensors, &encoded);
  uint64_t bytes = encoded.size();
  for (const Tensor& tensor : tensors) bytes += tensor.bytes().size();
  bool overfull = false;
  {
    MutexLock lock(&mutex_);
    if (closed_ || peer.gone || peer.open_calls.erase(call_id) == 0) return;
    const uint64_t fill = peer.outbox.bytes() + peer.budget->queued();
    overfull = fill != 0 && fill + bytes > options_.max_reply_bytes;
    if (overfull) {
      peer.gone = true;
      overfull_.push_back(Ref<ZmqPeer>(&peer));
    } else {
      Queue(peer, encoded, tensors);
    }
  }
  if (overfull) return Nudge();
  Kick();
}

void ZmqListenerCore::Queue(ZmqPeer& peer, absl::string_view header, absl::Span<const Tensor> tensors) {
  if (peer.outbox.empty()) to_send_.push_back(Ref<ZmqPeer>(&peer));
  peer.outbox.Append(header, tensors);
}

bool ZmqListenerCore::SendQueued() {
  {
    MutexLock lock(&mutex_);
    if (to_send_.empty()) return false;
    sending_to_.swap(to_send_);
  }
  for (const Ref<ZmqPeer>& peer : sending_to_) {
    {
      MutexLock lock(&mutex_);
      peer->outbox.TakeAll(&sending_);
    }
    // A ROUTER drops what is for a connection that has ended.
    for (Pack& pack : sending_) socket_.Send(peer->routing_id, &pack, peer->budget);
  }
  sending_.clear();
  sending_to_.clear();
  return true;
}

// --- The reactor's thread ---

void ZmqListenerCore::Announce(const PeerState& self) {
  hello_ = HelloHeader(self);
  QueueToAll(hello_);
}

void ZmqListenerCore::GoAway() {
  leaving_ = true;
  QueueToAll(BareHeader(PeerHeader::Kind::kGoaway, 0));
}

void ZmqListenerCore::QueueToAll(absl::string_view header) {
  {
    MutexLock lock(&mutex_);
    for (auto& [fd, connection] : connections_) {
      if (connection.peer) Queue(*connection.peer, header, {});
    }
  }
  pending_.store(true);
}

void ZmqListenerCore::Pump(absl::Time now) {
  for (int round = 0; round < kRoundsAtOnce; ++round) {
    pending_.store(false);
    bool busy = ReceiveBatch();
    if (round == 0 && !stopped_) {
      OnEvents();
      CutOverfull();
    }
    if (stopped_) return;
    {
      MutexLock lock(&socket_mutex_);
      busy |= SendQueued();
    }
    if (!busy) {
      // Only now: what lies ready in the socket is a whole message and has to be counted as one.
      if (absl::ToUnixNanos(now) >= due_ns()) CheckConnections(now);
      return;
    }
  }
  pending_.store(true);
}

bool ZmqListenerCore::ReceiveBatch() {
  size_t count = 0;
  {
    MutexLock lock(&socket_mutex_);
    for (; count < kReceiveAtOnce; ++count) {
      if (received_.size() == count) received_.emplace_back();
      if (!socket_.Receive(&received_[count])) break;
    }
  }
  for (size_t i = 0; i < count && !stopped_; ++i) {
    OnReceived(received_[i]);
    unpacked_.clear();
    received_[i].frames.clear();
  }
  return count > 0;
}

int ZmqListenerCore::FdOf(const ReceivedMessage& received) {
  const auto found = peers_.find(received.routing_id);
  if (found != peers_.end()) return found->second;
  // Its acceptance was told before its first message.
  OnEvents();
  const int fd = ConnectionOf(received.frames.front());
  return connections_.contains(fd) ? fd : -1;
}

void ZmqListenerCore::OnReceived(ReceivedMessage& received) {
  const int fd = FdOf(received);
  if (fd < 0) return;
  Connection& connection = connections_.find(fd)->second;
  connection.watch.OnMessage();
  absl::Status status = Unpack(absl::MakeSpan(received.frames), options_.limits, &unpacked_);
  if (!status.ok()) return OnMalformed(status);
  if (!connection.peer && !Greet(connection, received.routing_id, fd, unpacked_.front().header)) {
    return OnMalformed(absl::InvalidArgumentError("got a first message that is not a HELLO; the peer is not a node"));
  }
  const Ref<ZmqPeer> peer = connection.peer;
  for (PeerMessage& message : unpacked_) {
    if (stopped_) return;
    OnMessage(*peer, std::move(message));
    SendEarly();
  }
}

bool ZmqListenerCore::Greet(Connection& connection, const std::string& routing_id, int fd, const PeerHeader& hello) {
  if (hello.kind != PeerHeader::Kind::kHello) return false;
  connection.peer = MakeRef<ZmqPeer>(Ref<ZmqListenerCore>(this), routing_id, NextConnectionId(), fd);
  peers_.emplace(routing_id, fd);
  MutexLock lock(&mutex_);
  Queue(*connection.peer, hello_, {});
  if (leaving_) Queue(*connection.peer, BareHeader(PeerHeader::Kind::kGoaway, 0), {});
  return true;
}

void ZmqListenerCore::OnMessage(ZmqPeer& peer, PeerMessage message) {
  switch (message.header.kind) {
    case PeerHeader::Kind::kCall:
      return OnCall(peer, std::move(message));
    case PeerHeader::Kind::kCancel:
      return OnCancel(peer, message.header.call_id);
    // What a caller says of itself changes nothing here; replies answer nobody; what later releases say is not for us.
    case PeerHeader::Kind::kHello:
    case PeerHeader::Kind::kReply:
    case PeerHeader::Kind::kGoaway:
    case PeerHeader::Kind::kUnknown:
      return;
  }
}

void ZmqListenerCore::OnCall(ZmqPeer& peer, PeerMessage message) {
  const uint64_t call_id = message.header.call_id;
  {
    MutexLock lock(&mutex_);
    if (peer.gone) return;
    if (!peer.open_calls.insert(call_id).second) return;  // A second call of one id could not be told from the first.
  }
  message.connection = peer.connection;
  handler_.OnCall(std::move(message), ReplyTicket<ZmqPeer>(Ref<ZmqPeer>(&peer), call_id));
}

void ZmqListenerCore::OnCancel(ZmqPeer& peer, uint64_t call_id) {
  {
    MutexLock lock(&mutex_);
    if (peer.open_calls.erase(call_id) == 0) return;
  }
  handler_.OnCancel(peer.connection, call_id);
}

void ZmqListenerCore::OnEvents() {
  ConnectionEvent event;
  while (!stopped_ && monitor_.ReceiveEvent(&event)) {
    if (event.kind == ConnectionEvent::Kind::kAccepted) OnAccepted(event.fd);
    if (event.kind == ConnectionEvent::Kind::kDisconnected) OnDisconnected(event.fd);
  }
}

void ZmqListenerCore::OnAccepted(int fd) {
  const ConnectionWatch watch(fd);
  if (connections_.size() >= options_.max_connections) return watch.Cut();
  connections_.insert_or_assign(fd, Connection{watch, reactor_.clock().Now(), nullptr});
}

void ZmqListenerCore::OnDisconnected(int fd) {
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return;
  const Ref<ZmqPeer> peer = found->second.peer;
  connections_.erase(found);
  if (!peer) return;
  peers_.erase(peer->routing_id);
  absl::flat_hash_set<uint64_t> open_calls;
  {
    MutexLock lock(&mutex_);
    peer->gone = true;
    open_calls.swap(peer->open_calls);
  }
  for (const uint64_t call_id : open_calls) {
    if (!stopped_) handler_.OnCancel(peer->connection, call_id);
  }
}

void ZmqListenerCore::OnMalformed(const absl::Status& why) {
  malformed_.Add("got a malformed message, dropped it", why.message());
}

void ZmqListenerCore::CutOverfull() {
  std::vector<Ref<ZmqPeer>> overfull;
  {
    MutexLock lock(&mutex_);
    if (overfull_.empty()) return;
    overfull.swap(overfull_);
  }
  for (const Ref<ZmqPeer>& peer : overfull) {
    const auto found = connections_.find(peer->fd);
    if (found == connections_.end() || found->second.peer.get() != peer.get()) continue;
    LogWarning(absl::StrCat("listener '", endpoint_, "': got a peer that does not read its replies, want at most ",
                            options_.max_reply_bytes, " bytes waiting (max_reply_bytes); cutting it"));
    found->second.watch.Cut();
  }
}

void ZmqListenerCore::CheckConnections(absl::Time now) {
  for (auto& [fd, connection] : connections_) {
    const uint64_t limit = connection.peer ? MaxUnfinishedBytes(options_.limits) : MaxGreetingBytes(options_.limits);
    if (connection.watch.Exceeds(limit)) {
      LogWarning(absl::StrCat("listener '", endpoint_, "': got over ", limit,
                              " bytes of a message that does not end; cutting the peer"));
      connection.watch.Cut();
    } else if (!connection.peer && now - connection.since > kGreetWithin) {
      connection.watch.Cut();
    }
  }
  due_ns_.store(absl::ToUnixNanos(now + kCheckInterval));
}

}  // namespace portico
