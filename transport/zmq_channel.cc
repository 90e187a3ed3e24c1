#include "transport/zmq_channel.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "transport/hello.h"
#include "transport/outgoing_call.h"

namespace portico {
namespace {

constexpr size_t kReceiveAtOnce = 64;
constexpr int kRoundsAtOnce = 16;
constexpr int64_t kCheckNs = 100'000'000;
// Calls that expire one by one are gathered for so long, so that looking through all calls stays rare.
constexpr int64_t kExpiryGrainNs = 1'000'000;

}  // namespace

ZmqChannelCore::ZmqChannelCore(ZmqReactor& reactor, const std::string& endpoint, ChannelOptions options,
                               ZmqSocket socket, ZmqSocket monitor)
    : ZmqEndpoint(reactor), endpoint_(endpoint), options_(std::move(options)), monitor_(std::move(monitor)) {
  MutexLock lock(&socket_mutex_);
  socket_ = std::move(socket);
  fds_ = {socket_.fd(), monitor_.fd()};
}

void ZmqChannelCore::Open() {
  connect_by_ns_ = absl::ToUnixNanos(reactor_.clock().Now() + options_.connect_timeout);
  MoveDue(connect_by_ns_);
  reactor_.Add(Ref<ZmqEndpoint>(this), fds_);
}

void ZmqChannelCore::Close() {
  closed_ = true;
  reactor_.Remove(*this, fds_);
  {
    MutexLock lock(&mutex_);
    link_ = Link::kLost;
    lost_because_ = "the channel was closed";
    FailAll(absl::StatusCode::kCancelled, "the channel was closed");
  }
  completions_.Run();
  MutexLock lock(&socket_mutex_);
  socket_ = ZmqSocket();
  monitor_ = ZmqSocket();
}

// --- A call, on its caller's thread ---

absl::Status ZmqChannelCore::Admit(uint64_t bytes) const {
  if (link_ == Link::kLost) return refusal_.NoConnection(lost_because_);
  if (link_ == Link::kLeaving) return refusal_.Leaving();
  if (waiting_.size() >= options_.max_calls) return refusal_.TooManyCalls(waiting_.size(), options_.max_calls);
  // Calls that have ended early may still have bytes on their way.
  const uint64_t fill = std::max(waiting_bytes_, outbox_.bytes() + budget_->queued());
  if (fill + bytes > options_.max_bytes && fill != 0) {
    return refusal_.TooManyBytes(bytes, fill, options_.max_bytes);
  }
  return absl::OkStatus();
}

uint64_t ZmqChannelCore::Call(const PeerHeader& header, absl::Span<const Tensor> tensors, Deadline deadline,
                              Channel::Done done) {
  const uint64_t call_id = next_id_.fetch_add(1, std::memory_order_relaxed);
  const absl::StatusOr<OutgoingCall> call =
      OutgoingCall::Encode(header, call_id, tensors, deadline, options_.limits, reactor_.clock(), endpoint_);
  absl::Status status = call.status();
  bool sooner = false;
  if (call.ok()) {
    MutexLock lock(&mutex_);
    status = Admit(call->bytes);
    if (status.ok()) {
      const uint64_t pack = outbox_.Append(call->header, tensors);
      waiting_.emplace(call_id, Waiting{std::move(done), call->deadline_ns, call->bytes, pack});
      waiting_bytes_ += call->bytes;
      if (call->deadline_ns < expiry_ns_) {
        expiry_ns_ = call->deadline_ns;
        sooner = MoveDue(call->deadline_ns);
      }
    }
  }
  if (!status.ok()) {
    done(std::move(status));
    return call_id;
  }
  Kick();
  if (sooner) reactor_.Wake();
  return call_id;
}

void ZmqChannelCore::Cancel(uint64_t call_id) {
  {
    MutexLock lock(&mutex_);
    const auto found = waiting_.find(call_id);
    if (found == waiting_.end()) return;
    waiting_bytes_ -= found->second.bytes;
    completions_.Add(std::move(found->second.done), refusal_.Cancelled());
    waiting_.erase(found);
    outbox_.Append(BareHeader(PeerHeader::Kind::kCancel, call_id), {});
  }
  Nudge();
}

bool ZmqChannelCore::SendQueued() {
  {
    MutexLock lock(&mutex_);
    if ((link_ != Link::kUp && link_ != Link::kLeaving) || outbox_.empty()) return false;
    outbox_.TakeAll(&sending_);
  }
  for (Pack& pack : sending_) {
    // Without a connection its loss is about to be told, and fails the calls of this pack.
    if (!socket_.Send({}, &pack, budget_)) break;
  }
  sending_.clear();
  return true;
}

// --- The reactor's thread ---

void ZmqChannelCore::Pump(absl::Time now) {
  for (int round = 0; round < kRoundsAtOnce; ++round) {
    pending_.store(false);
    bool busy = ReceiveBatch();
    if (round == 0 && !closed_) OnEvents();
    if (absl::ToUnixNanos(now) >= due_ns() && !closed_) OnDue(now);
    completions_.Run();
    if (closed_) return;
    {
      MutexLock lock(&socket_mutex_);
      if (hello_owed_) {
        Pack hello;
        hello.Append(HelloHeader(options_.self), {});
        hello_owed_ = !socket_.Send({}, &hello, budget_);
        busy |= !hello_owed_;
      }
      busy |= SendQueued();
    }
    if (!busy) return;
  }
  pending_.store(true);
}

bool ZmqChannelCore::ReceiveBatch() {
  size_t count = 0;
  {
    MutexLock lock(&socket_mutex_);
    for (; count < kReceiveAtOnce; ++count) {
      if (received_.size() == count) received_.emplace_back();
      if (!socket_.Receive(&received_[count])) break;
    }
  }
  for (size_t i = 0; i < count; ++i) {
    watch_.OnMessage();
    if (resetting_ || closed_) continue;
    if (absl::Status status = Unpack(absl::MakeSpan(received_[i].frames), options_.limits, &unpacked_); !status.ok()) {
      Reset(status);
      continue;
    }
    for (PeerMessage& message : unpacked_) {
      if (closed_) break;
      OnMessage(std::move(message));
      SendEarly();
    }
    unpacked_.clear();
    received_[i].frames.clear();
  }
  return count > 0;
}

void ZmqChannelCore::OnMessage(PeerMessage message) {
  switch (message.header.kind) {
    case PeerHeader::Kind::kReply:
      return OnReply(std::move(message));
    case PeerHeader::Kind::kHello:
      return OnHello(message.header);
    case PeerHeader::Kind::kGoaway:
      return OnGoaway();
    // A serving side sends no calls; what later releases say is not for us.
    case PeerHeader::Kind::kCall:
    case PeerHeader::Kind::kCancel:
    case PeerHeader::Kind::kUnknown:
      return;
  }
}

void ZmqChannelCore::OnReply(PeerMessage message) {
  Channel::Done done;
  {
    MutexLock lock(&mutex_);
    const auto found = waiting_.find(message.header.call_id);
    if (found == waiting_.end()) return;  // Cancelled or expired meanwhile.
    waiting_bytes_ -= found->second.bytes;
    done = std::move(found->second.done);
    waiting_.erase(found);
  }
  done(std::move(message));
}

void ZmqChannelCore::OnHello(const PeerHeader& hello) {
  PeerState state = StateOfHello(hello);
  {
    MutexLock lock(&mutex_);
    const bool restarted = link_ != Link::kConnecting && peer_.incarnation != state.incarnation;
    if (restarted) FailAll(absl::StatusCode::kUnavailable, "the peer restarted");
    // Who is leaving may still announce what it serves, but does not come back.
    if (link_ == Link::kLeaving && !restarted) state.connected = false;
    if (state.connected) link_ = Link::kUp;
    peer_ = state;
  }
  Tell(state);
}

void ZmqChannelCore::OnGoaway() {
  PeerState state;
  {
    MutexLock lock(&mutex_);
    if (link_ != Link::kUp) return;
    link_ = Link::kLeaving;
    peer_.connected = false;
    state = peer_;
  }
  Tell(state);
}

void ZmqChannelCore::OnEvents() {
  ConnectionEvent event;
  while (!closed_ && monitor_.ReceiveEvent(&event)) {
    switch (event.kind) {
      case ConnectionEvent::Kind::kConnected:
        watch_ = ConnectionWatch(event.fd);
        silent_checks_ = 0;
        connected_ = true;
        MoveDue(absl::ToUnixNanos(reactor_.clock().Now()) + kCheckNs);
        break;
      case ConnectionEvent::Kind::kReady:
        hello_owed_ = true;
        break;
      case ConnectionEvent::Kind::kRefused:
        OnLost("the peer refused the handshake");
        break;
      case ConnectionEvent::Kind::kDisconnected:
        // What the peer still said may have come in since the last look.
        while (!closed_ && ReceiveBatch()) {
        }
        OnLost("the connection was lost");
        break;
      case ConnectionEvent::Kind::kAccepted:
      case ConnectionEvent::Kind::kOther:
        break;
    }
  }
}

void ZmqChannelCore::OnLost(absl::string_view why) {
  watch_ = ConnectionWatch();
  connected_ = hello_owed_ = resetting_ = false;
  MarkLost(why);
}

void ZmqChannelCore::MarkLost(absl::string_view why) {
  PeerState state;
  {
    MutexLock lock(&mutex_);
    if (link_ == Link::kLost) return;
    link_ = Link::kLost;
    lost_because_ = std::string(why);
    FailAll(absl::StatusCode::kUnavailable, why);
    peer_.connected = false;
    state = peer_;
  }
  // Before the calls fail, so that whoever tries again does not choose this peer.
  Tell(state);
  completions_.Run();
}

void ZmqChannelCore::Reset(const absl::Status& why) {
  LogWarning(
      absl::StrCat("peer '", endpoint_, "': got a malformed message, want a reply; connecting again: ", why.message()));
  Cut("the peer sent a malformed message");
}

void ZmqChannelCore::Cut(absl::string_view why) {
  unpacked_.clear();
  watch_.Cut();
  OnLost(why);
  resetting_ = true;
}

bool ZmqChannelCore::Silent(int64_t now_ns) {
  bool waits;
  {
    MutexLock lock(&mutex_);
    waits = !waiting_.empty();
  }
  // Between two looks the thread may have been away for long: each counts for its period, however late it comes.
  if (now_ns < next_listen_ns_) return false;
  next_listen_ns_ = now_ns + kCheckNs * 9 / 10;
  silent_checks_ = watch_.Heard() ? 0 : silent_checks_ + (waits ? 1 : 0);
  return waits && options_.dead_after > absl::ZeroDuration() &&
         silent_checks_ * kCheckNs >= absl::ToInt64Nanoseconds(options_.dead_after);
}

void ZmqChannelCore::OnDue(absl::Time now) {
  const int64_t now_ns = absl::ToUnixNanos(now);
  if (connected_ && watch_.Exceeds(MaxUnfinishedBytes(options_.limits))) {
    Reset(absl::ResourceExhaustedError(
        absl::StrCat("got a message that does not end, want at most ", options_.limits.max_message_bytes, " bytes")));
  }
  if (connected_ && Silent(now_ns)) Cut("the peer gave no sign of life");
  if (connect_by_ns_ <= now_ns) {
    connect_by_ns_ = kNever;
    bool connecting;
    {
      MutexLock lock(&mutex_);
      connecting = link_ == Link::kConnecting;
    }
    // A handshake that is under way goes on.
    if (connecting) MarkLost(absl::StrCat("no connection within ", absl::FormatDuration(options_.connect_timeout)));
  }
  MutexLock lock(&mutex_);
  if (expiry_ns_ <= now_ns) ExpireCalls(now_ns);
  due_ns_.store(std::min({expiry_ns_, connect_by_ns_, connected_ ? now_ns + kCheckNs : kNever}));
}

void ZmqChannelCore::ExpireCalls(int64_t now_ns) {
  expiry_ns_ = kNever;
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    const auto call = at++;
    if (call->second.deadline_ns > now_ns) {
      expiry_ns_ = std::min(expiry_ns_, call->second.deadline_ns);
      continue;
    }
    completions_.Add(std::move(call->second.done), refusal_.Expired(call->second.pack < outbox_.first()));
    waiting_bytes_ -= call->second.bytes;
    outbox_.Append(BareHeader(PeerHeader::Kind::kCancel, call->first), {});
    waiting_.erase(call);
  }
  if (expiry_ns_ != kNever) expiry_ns_ = std::max(expiry_ns_, now_ns + kExpiryGrainNs);
}

void ZmqChannelCore::FailAll(absl::StatusCode code, absl::string_view why) {
  for (auto& [call_id, call] : waiting_) {
    completions_.Add(std::move(call.done), refusal_.Failed(code, why, call.pack < outbox_.first()));
  }
  waiting_.clear();
  waiting_bytes_ = 0;
  std::vector<Pack> dropped;
  outbox_.TakeAll(&dropped);
}

void ZmqChannelCore::Tell(const PeerState& state) {
  if (options_.on_state) options_.on_state(state);
}

}  // namespace portico
