#include "transport/stream_listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "transport/connection_id.h"
#include "transport/hello.h"
#include "transport/reply_ticket.h"
#include "transport/unix_peer.h"

namespace portico {
namespace {

constexpr int kAcceptsAtOnce = 64;
// A connection that has not said HELLO by then only takes a place.
constexpr absl::Duration kGreetWithin = absl::Seconds(10);
// How long a closing listener waits for peers to take their last answers.
constexpr absl::Duration kFlushWithin = absl::Milliseconds(500);

}  // namespace

// --- StreamPeer ---

StreamPeer::StreamPeer(StreamLoop& loop, Ref<StreamListenerCore> core, uint64_t connection)
    : StreamPipe(loop, core->options_.limits), core_(std::move(core)), connection_(connection) {}

void StreamPeer::Accept(std::unique_ptr<StreamSocket> socket, absl::Time now) {
  accepted_ = now;
  Attach(std::move(socket));
}

void StreamPeer::Reply(uint64_t call_id, const PeerHeader& header, absl::Span<const Tensor> tensors) {
  static thread_local std::string encoded;
  EncodeReply(header, call_id, core_->options_.limits, &tensors, &encoded);
  uint64_t bytes = encoded.size();
  for (const Tensor& tensor : tensors) bytes += tensor.bytes().size();
  bool overfull = false;
  {
    MutexLock lock(&mutex_);
    if (gone_ || open_calls_.erase(call_id) == 0) return;
    const uint64_t fill = queued_bytes();
    overfull = fill != 0 && fill + bytes > core_->options_.max_reply_bytes;
    if (overfull) {
      gone_ = true;
    } else {
      Append(encoded, tensors);
    }
  }
  if (!overfull) return Kick();
  loop_.Post([peer = Ref<StreamPeer>(this)] {
    peer->OnBroken(absl::ResourceExhaustedError(absl::StrCat("got a peer that does not read its replies, want at most ",
                                                             peer->core_->options_.max_reply_bytes,
                                                             " bytes waiting (max_reply_bytes)")));
  });
}

void StreamPeer::Say(absl::string_view header) {
  if (!greeted_) return;
  Append(header, {});
  Kick();
}

void StreamPeer::OnTick(absl::Time now) {
  if (!greeted_ && now - accepted_ > kGreetWithin) {
    return OnBroken(absl::UnavailableError("the peer did not say HELLO"));
  }
  Vigil vigil;
  {
    MutexLock lock(&mutex_);
    vigil.owes = !open_calls_.empty();
  }
  Tick(now, core_->parts_, vigil);
}

void StreamPeer::Stop() {
  {
    MutexLock lock(&mutex_);
    gone_ = true;
    open_calls_.clear();
  }
  if (!greeted_) return OnBroken(absl::UnavailableError("the listener stops"));
  Finish();
}

void StreamPeer::Close() { Detach(); }

void StreamPeer::OnMessage(PeerMessage message) {
  if (!greeted_) {
    if (message.header.kind != PeerHeader::Kind::kHello) {
      return OnBroken(absl::InvalidArgumentError("got a first message that is not a HELLO; the peer is not a node"));
    }
    greeted_ = true;
    Greeted();
    LetFlow();
    return core_->Greet(*this);
  }
  switch (message.header.kind) {
    case PeerHeader::Kind::kCall:
      return OnCall(std::move(message));
    case PeerHeader::Kind::kCancel:
      return OnCancel(message.header.call_id);
    // What a caller says of itself changes nothing here; replies answer nobody; what later releases say is not for us.
    case PeerHeader::Kind::kHello:
    case PeerHeader::Kind::kReply:
    case PeerHeader::Kind::kGoaway:
    case PeerHeader::Kind::kUnknown:
      return;
  }
}

void StreamPeer::OnCall(PeerMessage message) {
  const uint64_t call_id = message.header.call_id;
  {
    MutexLock lock(&mutex_);
    if (gone_) return;
    // A second call of one id could not be told from the first.
    if (!open_calls_.insert(call_id).second) return;
  }
  message.connection = connection_;
  core_->handler_.OnCall(std::move(message), ReplyTicket<StreamPeer>(Ref<StreamPeer>(this), call_id));
}

void StreamPeer::OnCancel(uint64_t call_id) {
  {
    MutexLock lock(&mutex_);
    if (open_calls_.erase(call_id) == 0) return;
  }
  core_->handler_.OnCancel(connection_, call_id);
}

void StreamPeer::OnBroken(const absl::Status& why) {
  if (!attached()) return;
  const Ref<StreamPeer> alive(this);
  if (why.code() != absl::StatusCode::kUnavailable) core_->malformed_.Add("cut a peer", why.message());
  Detach();
  absl::flat_hash_set<uint64_t> open_calls;
  {
    MutexLock lock(&mutex_);
    gone_ = true;
    open_calls.swap(open_calls_);
  }
  for (const uint64_t call_id : open_calls) {
    if (!core_->stopped_) core_->handler_.OnCancel(connection_, call_id);
  }
  core_->OnGone(connection_);
}

// --- StreamListenerCore ---

StreamListenerCore::StreamListenerCore(const StreamParts& parts, StreamLoop& loop, CallHandler& handler,
                                       ListenOptions options, ListeningSocket socket, SocketMaker make_socket)
    : parts_(parts),
      loop_(loop),
      handler_(handler),
      options_(std::move(options)),
      endpoint_(socket.text()),
      local_(!absl::StartsWith(endpoint_, "tcp:")),
      socket_(std::move(socket)),
      make_socket_(std::move(make_socket)),
      hello_(HelloHeader(options_.self, parts.pace_ms())) {}

void StreamListenerCore::Open() {
  loop_.Watch(socket_.fd(), EPOLLIN, *this);
  loop_.AddTimed(Ref<Source>(this));
  due_ns_ = absl::ToUnixNanos(loop_.clock().Now() + parts_.tick);
}

void StreamListenerCore::OnReady(uint32_t) {
  if (stopped_) return;
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    const int fd = accept4(socket_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        // Until the next tick: to be told of it again and again would take the whole thread.
        accepting_ = false;
        loop_.Rewatch(socket_.fd(), 0, *this);
        malformed_.Add("left a peer waiting", "got a connection beyond what this process may open");
      }
      return;
    }
    if (peers_.size() >= options_.max_connections) {
      close(fd);
      continue;
    }
    if (local_) {
      if (const absl::Status status = CheckUnixPeer(fd); !status.ok()) {
        malformed_.Add("refused a peer", status.message());
        close(fd);
        continue;
      }
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));  // Fails on a Unix socket, which has no delay.
    const uint64_t connection = NextConnectionId();
    StreamLoop& loop = parts_.loops.Next();
    const auto peer = MakeRef<StreamPeer>(loop, Ref<StreamListenerCore>(this), connection);
    peers_.emplace(connection, peer);
    loop.Dispatch([this, peer, fd] { peer->Accept(make_socket_(fd), loop_.clock().Now()); });
  }
}

void StreamListenerCore::Greet(StreamPeer& peer) {
  std::string hello;
  bool leaving = false;
  {
    MutexLock lock(&mutex_);
    hello = hello_;
    leaving = leaving_;
  }
  peer.Say(hello);
  if (leaving) peer.Say(BareHeader(PeerHeader::Kind::kGoaway, 0));
}

void StreamListenerCore::OnGone(uint64_t connection) {
  loop_.Dispatch([core = Ref<StreamListenerCore>(this), connection] { core->Forget(connection); });
}

void StreamListenerCore::Forget(uint64_t connection) {
  peers_.erase(connection);
  if (!stopped_ || !peers_.empty()) return;
  MutexLock lock(&mutex_);
  flushed_ = true;
  changed_.NotifyAll();
}

void StreamListenerCore::OnDue(absl::Time now) {
  due_ns_ = absl::ToUnixNanos(now + parts_.tick);
  if (!accepting_) {
    accepting_ = true;
    loop_.Rewatch(socket_.fd(), EPOLLIN, *this);
  }
  ForEachPeer([now](StreamPeer& peer) { peer.OnTick(now); });
}

void StreamListenerCore::ForEachPeer(std::function<void(StreamPeer&)> task) {
  // A copy: a peer may go meanwhile.
  const absl::flat_hash_map<uint64_t, Ref<StreamPeer>> peers = peers_;
  for (const auto& [connection, peer] : peers) {
    peer->loop().Dispatch([peer = peer, task] { task(*peer); });
  }
}

void StreamListenerCore::SayToAll(const std::string& header) {
  ForEachPeer([header](StreamPeer& peer) { peer.Say(header); });
}

void StreamListenerCore::Announce(const PeerState& self) {
  const std::string hello = HelloHeader(self, parts_.pace_ms());
  {
    MutexLock lock(&mutex_);
    hello_ = hello;
  }
  SayToAll(hello);
}

void StreamListenerCore::GoAway() {
  {
    MutexLock lock(&mutex_);
    leaving_ = true;
  }
  SayToAll(BareHeader(PeerHeader::Kind::kGoaway, 0));
}

void StreamListenerCore::Stop() {
  stopped_ = true;
  due_ns_ = StreamLoop::kNever;
  loop_.RemoveTimed(*this);
  loop_.Drop(socket_.fd(), Ref<Source>(this));
  socket_ = ListeningSocket();
  ForEachPeer([](StreamPeer& peer) { peer.Stop(); });
  MutexLock lock(&mutex_);
  flushed_ = peers_.empty();
}

void StreamListenerCore::WaitUntilFlushed() {
  if (!loop_.Here()) {
    const absl::Time until = absl::Now() + kFlushWithin;
    MutexLock lock(&mutex_);
    while (!flushed_ && absl::Now() < until) changed_.WaitFor(&mutex_, until - absl::Now());
  }
  loop_.RunAndWait([this] { Close(); });
  // Neither the handler nor a loop is used any more by a peer in another loop.
  parts_.loops.Settle();
}

void StreamListenerCore::Close() {
  ForEachPeer([](StreamPeer& peer) { peer.Close(); });
  peers_.clear();
}

}  // namespace portico
