#include "transport/stream_channel.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "transport/hello.h"
#include "transport/outgoing_call.h"
#include "transport/unix_peer.h"

namespace portico {
namespace {

constexpr absl::Duration kFirstBackoff = absl::Milliseconds(50);
constexpr absl::Duration kMaxBackoff = absl::Milliseconds(500);
// For a connection and its handshakes, whatever the peer does.
constexpr absl::Duration kAttemptTimeout = absl::Seconds(5);
// For the connection alone: behind a network that is cut, the kernel would ask ever more rarely.
constexpr absl::Duration kConnectTimeout = absl::Milliseconds(1200);
// Signs of life that a peer may miss before it is given up.
constexpr int kSignsMissed = 4;
// Calls that expire one by one are gathered for so long, so that looking through all calls stays rare.
constexpr int64_t kExpiryGrainNs = 1'000'000;

}  // namespace

StreamChannelCore::StreamChannelCore(const StreamParts& parts, StreamLoop& loop, const std::string& endpoint,
                                     StreamEndpoint parsed, ChannelOptions options, SocketMaker make_socket)
    : StreamPipe(loop, options.limits),
      parts_(parts),
      endpoint_(endpoint),
      parsed_(std::move(parsed)),
      options_(std::move(options)),
      make_socket_(std::move(make_socket)),
      backoff_(kFirstBackoff) {}

void StreamChannelCore::Open() {
  connect_by_ns_ = absl::ToUnixNanos(loop_.clock().Now() + options_.connect_timeout);
  SetTimer();
  loop_.AddTimed(Ref<Source>(this));
  Attempt();
}

void StreamChannelCore::Close() {
  closed_ = true;
  loop_.RemoveTimed(*this);
  {
    MutexLock lock(&mutex_);
    lost_because_ = "the channel was closed";
  }
  link_.store(Link::kLost);
  FailAll(absl::StatusCode::kCancelled, "the channel was closed");
  completions_.Run();
  Detach();
}

// --- A call, on its caller's thread ---

absl::Status StreamChannelCore::Admit(uint64_t bytes) {
  // In the order of FailAll(): the state of the link is looked at under the lock that FailAll() takes after changing
  // it.
  const Link link = link_.load();
  if (link == Link::kLost) {
    MutexLock lock(&mutex_);
    return refusal_.NoConnection(lost_because_);
  }
  if (link == Link::kLeaving) return refusal_.Leaving();
  if (const uint32_t calls = in_flight_.fetch_add(1); calls >= options_.max_calls) {
    in_flight_.fetch_sub(1);
    return refusal_.TooManyCalls(calls, options_.max_calls);
  }
  // Calls that have ended early may still have bytes on their way.
  const uint64_t fill = std::max(in_flight_bytes_.fetch_add(bytes), queued_bytes());
  if (fill + bytes > options_.max_bytes && fill != 0) {
    in_flight_.fetch_sub(1);
    in_flight_bytes_.fetch_sub(bytes);
    return refusal_.TooManyBytes(bytes, fill, options_.max_bytes);
  }
  return absl::OkStatus();
}

void StreamChannelCore::Forget(const CallTable::Waiting& call) {
  in_flight_.fetch_sub(1);
  in_flight_bytes_.fetch_sub(call.bytes);
}

bool StreamChannelCore::SetExpiry(int64_t at_ns) {
  int64_t expiry = expiry_ns_.load(std::memory_order_relaxed);
  while (at_ns < expiry) {
    if (expiry_ns_.compare_exchange_weak(expiry, at_ns)) return true;
  }
  return false;
}

uint64_t StreamChannelCore::Call(const PeerHeader& header, absl::Span<const Tensor> tensors, Deadline deadline,
                                 Channel::Done done) {
  const uint64_t call_id = next_id_.fetch_add(1, std::memory_order_relaxed);
  const absl::StatusOr<OutgoingCall> call =
      OutgoingCall::Encode(header, call_id, tensors, deadline, options_.limits, loop_.clock(), endpoint_);
  absl::Status status = call.status();
  if (call.ok()) {
    status = calls_.Insert(call_id, [&]() -> absl::StatusOr<CallTable::Waiting> {
      RETURN_IF_ERROR(Admit(call->bytes));
      const uint64_t message = Append(call->header, tensors);
      return CallTable::Waiting{std::move(done), call->deadline_ns, call->bytes, message};
    });
  }
  if (!status.ok()) {
    done(std::move(status));
    return call_id;
  }
  const bool sooner = SetExpiry(call->deadline_ns);
  Kick();
  if (sooner) loop_.Wake();
  return call_id;
}

void StreamChannelCore::Cancel(uint64_t call_id) {
  std::optional<CallTable::Waiting> call = calls_.Take(call_id);
  if (!call) return;
  Forget(*call);
  completions_.Add(std::move(call->done), refusal_.Cancelled());
  TellToCancel(call_id);
  loop_.Post([core = Ref<StreamChannelCore>(this)] { core->completions_.Run(); });
}

void StreamChannelCore::TellToCancel(uint64_t call_id) {
  Append(BareHeader(PeerHeader::Kind::kCancel, call_id), {});
  Kick();
}

// --- The connection, on the loop's thread ---

void StreamChannelCore::Attempt() {
  const absl::Time now = loop_.clock().Now();
  attempt_ns_ = CallTable::kNever;
  attempt_by_ns_ = absl::ToUnixNanos(now + kAttemptTimeout);
  SetTimer();
  if (!parsed_.needs_dns()) return OnResolved(parsed_.Resolve());
  parts_.resolver.Post([core = Ref<StreamChannelCore>(this)] {
    core->loop_.Post([core, addresses = core->parsed_.Resolve()]() mutable { core->OnResolved(std::move(addresses)); });
  });
}

void StreamChannelCore::OnResolved(absl::StatusOr<std::vector<SocketAddress>> addresses) {
  // The answer may come when the attempt is over.
  if (closed_ || attached() || attempt_by_ns_ == CallTable::kNever) return;
  if (!addresses.ok()) return RetryLater(addresses.status());
  addresses_ = *std::move(addresses);
  next_address_ = 0;
  TryNextAddress();
}

void StreamChannelCore::TryNextAddress() {
  absl::Status why = absl::UnavailableError("no address");
  while (next_address_ < addresses_.size()) {
    const SocketAddress& address = addresses_[next_address_++];
    const int fd = socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      why = absl::UnavailableError(absl::StrCat("socket: ", std::strerror(errno)));
      continue;
    }
    if (!parsed_.local()) {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    if (connect(fd, address.get(), address.size) == 0 || errno == EINPROGRESS) {
      why = parsed_.local() ? CheckUnixPeer(fd) : absl::OkStatus();
      if (why.ok()) {
        greeted_ = false;
        linking_ = !parsed_.local();
        attempt_by_ns_ = absl::ToUnixNanos(loop_.clock().Now() + (linking_ ? kConnectTimeout : kAttemptTimeout));
        SetTimer();
        return Attach(make_socket_(fd));
      }
    } else {
      why = absl::UnavailableError(absl::StrCat("connect: ", std::strerror(errno)));
    }
    close(fd);
  }
  // Once, however often it is tried.
  if (absl::IsPermissionDenied(why) && backoff_ == kFirstBackoff) {
    LogWarning(absl::StrCat("peer '", endpoint_, "': ", why.message()));
  }
  RetryLater(why);
}

void StreamChannelCore::RetryLater(const absl::Status& why) {
  addresses_.clear();
  tick_ns_ = attempt_by_ns_ = CallTable::kNever;
  attempt_ns_ = absl::ToUnixNanos(loop_.clock().Now() + backoff_);
  backoff_ = std::min(backoff_ * 2, kMaxBackoff);
  SetTimer();
  MutexLock lock(&mutex_);
  if (link_.load() != Link::kConnecting) lost_because_ = std::string(why.message());
}

void StreamChannelCore::OnOpen() {
  const absl::Time now = loop_.clock().Now();
  tick_ns_ = absl::ToUnixNanos(now + parts_.tick);
  if (std::exchange(linking_, false)) attempt_by_ns_ = absl::ToUnixNanos(now + kAttemptTimeout);
  SetTimer();
  // What the server says may come with tensors from its first message on.
  Greeted();
  SendFirst(HelloHeader(options_.self));
}

void StreamChannelCore::OnBroken(const absl::Status& why) {
  if (why.code() == absl::StatusCode::kInvalidArgument) {
    LogWarning(absl::StrCat("peer '", endpoint_,
                            "': got a malformed message, want a reply; connecting again: ", why.message()));
  }
  const bool was_greeted = std::exchange(greeted_, false);
  if (was_greeted) {
    MarkLost(why.code() == absl::StatusCode::kInvalidArgument ? "the peer sent a malformed message" : why.message());
    if (closed_) return;
    Detach();
    return RetryLater(why);
  }
  // Calls go on waiting for the first connection, and keep their place in the queue: it has not begun to flow.
  DetachUnsent();
  if (next_address_ < addresses_.size()) return TryNextAddress();
  RetryLater(why);
}

void StreamChannelCore::OnMessage(PeerMessage message) {
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

void StreamChannelCore::OnReply(PeerMessage message) {
  std::optional<CallTable::Waiting> call = calls_.Take(message.header.call_id);
  if (!call) return;  // Cancelled or expired meanwhile.
  Forget(*call);
  call->done(std::move(message));
}

void StreamChannelCore::OnHello(const PeerHeader& hello) {
  PeerState state = StateOfHello(hello);
  dead_ticks_ = DeadTicks(hello.pace_ms);
  const bool restarted = greeted_ && peer_.incarnation != state.incarnation;
  if (restarted) {
    FailAll(absl::StatusCode::kUnavailable, "the peer restarted");
    completions_.Run();
    if (closed_) return;
  }
  // Who is leaving may still announce what it serves, but does not come back.
  const bool leaving = greeted_ && link_.load() == Link::kLeaving && !restarted;
  if (leaving) state.connected = false;
  peer_ = state;
  if (!leaving) link_.store(Link::kUp);
  if (!std::exchange(greeted_, true)) {
    connect_by_ns_ = attempt_by_ns_ = CallTable::kNever;
    backoff_ = kFirstBackoff;
    addresses_.clear();
    SetTimer();
    LetFlow();
  }
  Tell(state);
}

int StreamChannelCore::DeadTicks(uint32_t pace_ms) const {
  if (pace_ms == 0 || options_.dead_after <= absl::ZeroDuration()) return parts_.silent_ticks;
  // Of a peer that promises little, not more is asked.
  const absl::Duration dead_after = std::max(options_.dead_after, kSignsMissed * absl::Milliseconds(pace_ms));
  return static_cast<int>(std::min(std::ceil(absl::FDivDuration(dead_after, parts_.tick)), double{1e6}));
}

void StreamChannelCore::OnGoaway() {
  if (link_.load() != Link::kUp) return;
  link_.store(Link::kLeaving);
  peer_.connected = false;
  Tell(peer_);
}

void StreamChannelCore::MarkLost(absl::string_view why) {
  if (link_.load() == Link::kLost) return;
  {
    MutexLock lock(&mutex_);
    lost_because_ = std::string(why);
  }
  link_.store(Link::kLost);
  FailAll(absl::StatusCode::kUnavailable, why);
  peer_.connected = false;
  // Before the calls fail, so that whoever tries again does not choose this peer.
  Tell(peer_);
  completions_.Run();
}

void StreamChannelCore::OnDue(absl::Time now) {
  const int64_t now_ns = absl::ToUnixNanos(now);
  if (expiry_ns_.load() <= now_ns) ExpireCalls(now_ns);
  completions_.Run();
  if (closed_) return;
  if (connect_by_ns_ <= now_ns) {
    connect_by_ns_ = CallTable::kNever;
    if (link_.load() == Link::kConnecting) {
      MarkLost(absl::StrCat("no connection within ", absl::FormatDuration(options_.connect_timeout)));
    }
  }
  if (closed_) return;
  if (attempt_by_ns_ <= now_ns) OnAttemptTimeout(now);
  if (attempt_ns_ <= now_ns) Attempt();
  if (closed_) return;
  if (tick_ns_ <= now_ns) {
    tick_ns_ = absl::ToUnixNanos(now + parts_.tick);
    Vigil vigil;
    if (in_flight_.load(std::memory_order_relaxed) > 0) vigil.patience = dead_ticks_;
    Tick(now, parts_, vigil);
  }
  SetTimer();
}

void StreamChannelCore::OnAttemptTimeout(absl::Time now) {
  const bool linking = std::exchange(linking_, false);
  if (linking && Linked()) {
    attempt_by_ns_ = absl::ToUnixNanos(now + kAttemptTimeout);
    return;
  }
  attempt_by_ns_ = CallTable::kNever;
  OnBroken(
      absl::UnavailableError(linking ? "the peer's host did not answer" : "the peer did not answer the handshake"));
}

void StreamChannelCore::SetTimer() { timer_ns_ = std::min({connect_by_ns_, attempt_ns_, attempt_by_ns_, tick_ns_}); }

void StreamChannelCore::ExpireCalls(int64_t now_ns) {
  expiry_ns_.store(CallTable::kNever);
  int64_t next = CallTable::kNever;
  std::vector<uint64_t> expired;
  calls_.TakeIf([&](uint64_t call_id, CallTable::Waiting& call) {
    if (call.deadline_ns > now_ns) {
      next = std::min(next, call.deadline_ns);
      return false;
    }
    Forget(call);
    completions_.Add(std::move(call.done), refusal_.Expired(Taken(call.message)));
    expired.push_back(call_id);
    return true;
  });
  for (const uint64_t call_id : expired) TellToCancel(call_id);
  if (next != CallTable::kNever) SetExpiry(std::max(next, now_ns + kExpiryGrainNs));
}

void StreamChannelCore::FailAll(absl::StatusCode code, absl::string_view why) {
  calls_.TakeIf([&](uint64_t, CallTable::Waiting& call) {
    Forget(call);
    completions_.Add(std::move(call.done), refusal_.Failed(code, why, Taken(call.message)));
    return true;
  });
  DropUnsent();
}

void StreamChannelCore::Tell(const PeerState& state) {
  if (options_.on_state) options_.on_state(state);
}

}  // namespace portico
