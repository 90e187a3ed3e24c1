#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/client_callback.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "transport/call_window.h"
#include "transport/grpc_message.h"
#include "transport/grpc_parts.h"
#include "transport/hello.h"
#include "transport/zmq_pack.h"

namespace portico {
namespace {

/// A HELLO stream that ended without a word is tried again after this, doubled up to the limit; one that had been
/// connected, at once, but not in a tight loop.
constexpr absl::Duration kFirstRetry = absl::Milliseconds(50);
constexpr absl::Duration kLastRetry = absl::Seconds(1);

class GrpcChannel;

std::shared_ptr<grpc::Channel> Dial(const std::string& address, const ChannelOptions& options) {
  grpc::ChannelArguments arguments;
  // Each of our channels is one connection of its own, whose loss it sees; and inner traffic takes no proxy.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // gRPC waits for a second between two pings, so that a peer is lost `dead_after` after it fell silent, or a little
  // later.
  const bool brisk = options.dead_after > absl::ZeroDuration();
  const int64_t dead_ms = absl::ToInt64Milliseconds(std::min(options.dead_after, absl::Minutes(1)));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, brisk ? static_cast<int>(dead_ms / 3 + 1) : 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, brisk ? static_cast<int>(dead_ms * 3 / 5 + 1) : 5'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetMaxReceiveMessageSize(
      static_cast<int>(std::min<uint64_t>(options.limits.max_message_bytes, std::numeric_limits<int>::max())));
  const TransportSecurity& security = options.security;
  if (security.peer_public_key.empty())
    return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = security.peer_public_key;
  ssl.pem_private_key = security.own_secret_key;
  ssl.pem_cert_chain = security.own_public_key;
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(ssl), arguments);
}

/// One call in flight. Shared by the channel's table and, until OnDone, by gRPC.
class ClientCall final : public RefCounted, public grpc::ClientUnaryReactor {
 public:
  ClientCall(GrpcChannel& channel, uint64_t id, uint64_t bytes, Channel::Done done)
      : id(id), bytes(bytes), channel_(channel), done_(std::move(done)) {}

  /// `wait`: for a connection, where there is none.
  void Start(grpc::GenericStub& stub, const PeerHeader& header, absl::Span<const Tensor> tensors,
             absl::Duration timeout, bool wait);
  void Cancel() { context_.TryCancel(); }
  /// Ends a call that waits for a first connection: with UNAVAILABLE.
  void GiveUp() {
    gave_up_.store(true, std::memory_order_relaxed);
    context_.TryCancel();
  }
  void OnDone(const grpc::Status& status) override;

  const uint64_t id;
  const uint64_t bytes;

 private:
  absl::StatusOr<PeerMessage> Result(const grpc::Status& status);

  GrpcChannel& channel_;
  Channel::Done done_;
  std::atomic<bool> gave_up_{false};
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
  Ref<ClientCall> grpc_share_;
};

/// The stream by which a connection is seen: the peer says who it is and what it serves; its end is the connection's
/// end.
class HelloStream final : public RefCounted, public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit HelloStream(GrpcChannel& channel) : channel_(channel) {}

  void Start(grpc::GenericStub& stub, const PeerState& self);
  void Cancel() { context_.TryCancel(); }
  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  GrpcChannel& channel_;
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
  bool greeted_ = false;
  Ref<HelloStream> grpc_share_;
};

class GrpcChannel final : public Channel {
 public:
  GrpcChannel(const std::string& endpoint, const GrpcEndpoint& parsed, ChannelOptions options, EventThread& events,
              const Clock& clock)
      : endpoint_(endpoint),
        options_(std::move(options)),
        events_(events),
        clock_(clock),
        stub_(Dial(parsed.address, options_)),
        connect_by_(events_.At(clock_.Now() + options_.connect_timeout, [this] { OnConnectTimeout(); })) {
    StartHello();
  }
  ~GrpcChannel() override;

  uint64_t Call(const PeerHeader& header, absl::Span<const Tensor> tensors, Deadline deadline, Done done) override;
  void Cancel(uint64_t call_id) override;

  // From the calls and the stream.
  void Forget(const ClientCall& call) {
    MutexLock lock(&mutex_);
    calls_.erase(call.id);
    --unfinished_;
    // Notified under the lock: the destructor may go on as soon as it sees zero.
    idle_.NotifyAll();
  }
  CallWindow& window() { return window_; }
  void OnHello(const PeerState& state);
  void OnGoAway();
  void OnHelloEnded(bool greeted, const grpc::Status& status);

  /// What the HELLO stream tells of the connection. Before the first one calls wait for it; after a loss or a GOAWAY
  /// they are refused until the next.
  enum class Link : uint8_t { kNever, kUp, kDown };
  Link link() const { return link_.load(std::memory_order_relaxed); }
  const std::string& endpoint() const { return endpoint_; }
  const PeerLimits& limits() const { return options_.limits; }

 private:
  void StartHello();
  void OnConnectTimeout();
  void Tell(const PeerState& state) {
    if (options_.on_state) options_.on_state(state);
  }
  /// What keeps a call of `bytes` from being sent now; takes room in the window where nothing does.
  absl::Status Admit(uint64_t bytes);

  const std::string endpoint_;
  const ChannelOptions options_;
  EventThread& events_;
  const Clock& clock_;
  grpc::GenericStub stub_;
  std::atomic<uint64_t> next_id_{1};
  CallWindow window_{endpoint_, options_};
  std::atomic<Link> link_{Link::kNever};
  Mutex mutex_;
  CondVar idle_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  /// Calls and streams whose OnDone has not returned.
  uint64_t unfinished_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<uint64_t, Ref<ClientCall>> calls_ ABSL_GUARDED_BY(mutex_);
  Ref<HelloStream> hello_ ABSL_GUARDED_BY(mutex_);
  std::optional<EventThread::TimerId> retry_ ABSL_GUARDED_BY(mutex_);
  absl::Duration retry_after_ ABSL_GUARDED_BY(mutex_) = kFirstRetry;
  /// As last told; only one stream at a time changes it.
  PeerState state_ ABSL_GUARDED_BY(mutex_);
  const EventThread::TimerId connect_by_;
};

void ClientCall::Start(grpc::GenericStub& stub, const PeerHeader& header, absl::Span<const Tensor> tensors,
                       absl::Duration timeout, bool wait) {
  context_.set_wait_for_ready(wait);
  PeerEnvelope envelope;
  envelope.kind = PeerHeader::Kind::kCall;
  envelope.call_id = id;
  envelope.tensors = tensors;
  if (timeout < absl::InfiniteDuration()) {
    envelope.timeout_us = std::max<int64_t>(1, absl::ToInt64Microseconds(timeout));
    // gRPC counts in milliseconds: one more, so that it is never early.
    context_.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(timeout) +
                          std::chrono::milliseconds(1));
  }
  WriteGrpcMessage(header, envelope, &request_);
  grpc_share_ = Ref<ClientCall>(this);
  stub.PrepareUnaryCall(&context_, kGrpcCallMethod, grpc::StubOptions(), &request_, &response_, this);
  StartCall();
}

void ClientCall::OnDone(const grpc::Status& status) {
  const Ref<ClientCall> self = std::move(grpc_share_);
  absl::StatusOr<PeerMessage> result = Result(status);
  request_.Clear();
  response_.Clear();
  channel_.window().Leave(bytes);
  Channel::Done done = std::move(done_);
  done(std::move(result));
  done = nullptr;
  channel_.Forget(*this);
}

absl::StatusOr<PeerMessage> ClientCall::Result(const grpc::Status& status) {
  const std::string where = absl::StrCat("endpoint '", channel_.endpoint(), "'");
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  if (code == absl::StatusCode::kCancelled && gave_up_.load(std::memory_order_relaxed)) {
    return absl::UnavailableError(absl::StrCat(where, ": no connection could be made; the call was not sent"));
  }
  if (code == absl::StatusCode::kUnavailable) {
    return absl::UnavailableError(
        absl::StrCat(where, ": lost the peer; the call may have been sent: ", status.error_message()));
  }
  if (code == absl::StatusCode::kDeadlineExceeded) {
    return absl::DeadlineExceededError(absl::StrCat(
        where, channel_.link() == GrpcChannel::Link::kNever ? ": no connection yet" : ": no answer in time"));
  }
  if (!status.ok()) return absl::Status(code, absl::StrCat(where, ": ", status.error_message()));
  PeerMessage message;
  RETURN_IF_ERROR(WithContext(where, ReadGrpcMessage(response_, channel_.limits(), &message)));
  if (message.header.kind != PeerHeader::Kind::kReply) {
    return absl::InternalError(
        absl::StrCat(where, ": got a message of kind ", static_cast<int>(message.header.kind), ", want a reply"));
  }
  return message;
}

void HelloStream::Start(grpc::GenericStub& stub, const PeerState& self) {
  context_.set_wait_for_ready(true);
  WriteGrpcHeader(HelloHeader(self), &request_);
  grpc_share_ = Ref<HelloStream>(this);
  stub.PrepareBidiStreamingCall(&context_, kGrpcHelloMethod, grpc::StubOptions(), this);
  StartWrite(&request_);
  StartRead(&response_);
  StartCall();
}

void HelloStream::OnReadDone(bool ok) {
  if (!ok) return;  // OnDone follows.
  PeerMessage message;
  const absl::Status status = ReadGrpcMessage(response_, channel_.limits(), &message);
  if (!status.ok()) {
    LogWarning(absl::StrCat("endpoint '", channel_.endpoint(), "': ", status.message()));
    context_.TryCancel();
    return;
  }
  if (message.header.kind == PeerHeader::Kind::kHello) {
    greeted_ = true;
    channel_.OnHello(StateOfHello(message.header));
  } else if (message.header.kind == PeerHeader::Kind::kGoaway) {
    channel_.OnGoAway();
  }
  StartRead(&response_);
}

void HelloStream::OnDone(const grpc::Status& status) {
  const Ref<HelloStream> self = std::move(grpc_share_);
  channel_.OnHelloEnded(greeted_, status);
}

GrpcChannel::~GrpcChannel() {
  std::vector<Ref<ClientCall>> calls;
  Ref<HelloStream> hello;
  std::optional<EventThread::TimerId> retry;
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    for (const auto& [id, call] : calls_) calls.push_back(call);
    hello = hello_;
    retry = retry_;
  }
  if (retry.has_value()) events_.Drop(*retry);
  events_.Drop(connect_by_);
  events_.Flush();  // A retry that had begun has seen stopping_ now.
  for (const Ref<ClientCall>& call : calls) call->Cancel();
  if (hello) hello->Cancel();
  MutexLock lock(&mutex_);
  while (unfinished_ > 0) idle_.Wait(&mutex_);
}

uint64_t GrpcChannel::Call(const PeerHeader& header, absl::Span<const Tensor> tensors, Deadline deadline, Done done) {
  const uint64_t id = next_id_.fetch_add(1, std::memory_order_relaxed);
  const absl::Duration left = deadline.Remaining(clock_);
  if (left <= absl::ZeroDuration()) {
    done(absl::DeadlineExceededError(absl::StrCat("endpoint '", endpoint_, "': the deadline passed before the call")));
    return id;
  }
  uint64_t bytes = 0;
  for (const Tensor& tensor : tensors) bytes += tensor.bytes().size();
  absl::Status status = CheckSendable("call", header, tensors, options_.limits);
  if (status.ok()) status = Admit(bytes);
  if (!status.ok()) {
    done(std::move(status));
    return id;
  }
  auto call = MakeRef<ClientCall>(*this, id, bytes, std::move(done));
  {
    MutexLock lock(&mutex_);
    calls_.emplace(id, call);
    ++unfinished_;
  }
  call->Start(stub_, header, tensors, left, /*wait=*/link() == Link::kNever);
  return id;
}

absl::Status GrpcChannel::Admit(uint64_t bytes) {
  if (link() == Link::kDown) {
    return absl::UnavailableError(absl::StrCat(
        "endpoint '", endpoint_, "': the peer is not connected, going away or refuses us; the call was not sent"));
  }
  return window_.Enter(bytes);
}

void GrpcChannel::Cancel(uint64_t call_id) {
  Ref<ClientCall> call;
  {
    MutexLock lock(&mutex_);
    const auto found = calls_.find(call_id);
    if (found == calls_.end()) return;
    call = found->second;
  }
  call->Cancel();
}

void GrpcChannel::StartHello() {
  Ref<HelloStream> hello;
  {
    MutexLock lock(&mutex_);
    retry_.reset();
    if (stopping_) return;
    hello = hello_ = MakeRef<HelloStream>(*this);
    ++unfinished_;
  }
  hello->Start(stub_, options_.self);
}

void GrpcChannel::OnConnectTimeout() {
  Link never = Link::kNever;
  if (!link_.compare_exchange_strong(never, Link::kDown, std::memory_order_relaxed)) return;
  std::vector<Ref<ClientCall>> calls;
  {
    MutexLock lock(&mutex_);
    for (const auto& [id, call] : calls_) calls.push_back(call);
  }
  for (const Ref<ClientCall>& call : calls) call->GiveUp();
  Tell(PeerState());
}

void GrpcChannel::OnHello(const PeerState& state) {
  {
    MutexLock lock(&mutex_);
    state_ = state;
    state_.connected = true;
    retry_after_ = kFirstRetry;
  }
  link_.store(Link::kUp, std::memory_order_relaxed);
  Tell(state);
}

void GrpcChannel::OnGoAway() {
  link_.store(Link::kDown, std::memory_order_relaxed);
  PeerState state;
  {
    MutexLock lock(&mutex_);
    state_.connected = false;
    state = state_;
  }
  Tell(state);
}

void GrpcChannel::OnHelloEnded(bool greeted, const grpc::Status& status) {
  // The stream waits for a connection, so one has been there, even where it ended before the peer said HELLO.
  const bool news = link_.exchange(Link::kDown, std::memory_order_relaxed) != Link::kDown;
  PeerState state;
  bool stopping;
  {
    MutexLock lock(&mutex_);
    state_.connected = false;
    state = state_;
    hello_ = nullptr;
    stopping = stopping_;
  }
  if (news && !stopping) {
    if (!greeted) LogWarning(absl::StrCat("endpoint '", endpoint_, "': no HELLO: ", status.error_message()));
    Tell(state);
  }
  MutexLock lock(&mutex_);
  if (!stopping_) {
    retry_ = events_.At(clock_.Now() + retry_after_, [this] { StartHello(); });
    retry_after_ = std::min(retry_after_ * 2, kLastRetry);
  }
  --unfinished_;
  idle_.NotifyAll();
}

}  // namespace

std::unique_ptr<Channel> NewGrpcChannel(const std::string& endpoint, const GrpcEndpoint& parsed, ChannelOptions options,
                                        EventThread& events, const Clock& clock) {
  return std::make_unique<GrpcChannel>(endpoint, parsed, std::move(options), events, clock);
}

}  // namespace portico
