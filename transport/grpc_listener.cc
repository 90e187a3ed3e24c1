#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/mutex.h"
#include "transport/connection_id.h"
#include "transport/grpc_message.h"
#include "transport/grpc_parts.h"
#include "transport/hello.h"
#include "transport/reply_ticket.h"
#include "transport/zmq_pack.h"

namespace portico {
namespace {

/// How long a listener that stops waits for peers to take the answers that are on their way.
constexpr std::chrono::seconds kFlushTime{2};

/// One client's connection, as long as anything of it is in hand.
struct Connection {
  uint64_t id = 0;
  /// Replies that gRPC has not sent yet.
  std::atomic<uint64_t> reply_bytes{0};
};

/// Finds the connection by the peer's address and counts them. Outlives its listener where calls do. Thread-safe.
class ConnectionTable : public std::enable_shared_from_this<ConnectionTable> {
 public:
  explicit ConnectionTable(uint32_t limit) : limit_(limit) {}

  /// Null when there are too many.
  std::shared_ptr<Connection> Get(const std::string& peer) {
    MutexLock lock(&mutex_);
    if (const auto found = connections_.find(peer); found != connections_.end()) {
      if (std::shared_ptr<Connection> known = found->second.lock()) return known;
    } else if (connections_.size() >= limit_) {
      return nullptr;
    }
    std::shared_ptr<Connection> connection(new Connection, [table = shared_from_this(), peer](Connection* gone) {
      table->Drop(peer);
      delete gone;
    });
    connection->id = NextConnectionId();
    connections_[peer] = connection;
    return connection;
  }

 private:
  void Drop(const std::string& peer) {
    MutexLock lock(&mutex_);
    const auto found = connections_.find(peer);
    // Not the one that has taken its place since.
    if (found != connections_.end() && found->second.expired()) connections_.erase(found);
  }

  const uint32_t limit_;
  Mutex mutex_;
  absl::flat_hash_map<std::string, std::weak_ptr<Connection>> connections_ ABSL_GUARDED_BY(mutex_);
};

class GrpcListener;

/// A call in hand. Shared by gRPC until OnDone and by the handler's PeerReply, which may come long after (the listener
/// may be gone by then). Whoever is first of reply and cancel finishes it.
class ServerCall final : public RefCounted, public grpc::ServerGenericBidiReactor {
 public:
  ServerCall(GrpcListener& listener, CallHandler& handler, const ListenOptions& options,
             std::shared_ptr<Connection> connection)
      : listener_(listener),
        handler_(handler),
        limits_(options.limits),
        max_reply_bytes_(options.max_reply_bytes),
        connection_(std::move(connection)) {}

  void Start() {
    grpc_share_ = Ref<ServerCall>(this);
    StartRead(&request_);
  }
  void OnReadDone(bool ok) override {
    if (!ok) return FinishOnce(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "got no message, want one call"));
    PeerMessage call;
    const absl::Status status = ReadGrpcMessage(request_, limits_, &call);
    request_.Clear();
    if (!status.ok()) {
      return FinishOnce(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, std::string(status.message())));
    }
    if (call.header.kind != PeerHeader::Kind::kCall) {
      return FinishOnce(
          grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "peer message: got another kind, want a call"));
    }
    call.connection = connection_->id;
    call_id_.store(call.header.call_id, std::memory_order_relaxed);
    if (finished_.load(std::memory_order_acquire)) return;  // Cancelled before it began.
    const uint64_t call_id = call.header.call_id;
    handler_.OnCall(std::move(call), ReplyTicket<ServerCall>(Ref<ServerCall>(this), call_id));
    // Whoever comes second of this and OnCancel() tells the handler.
    handed_.store(true, std::memory_order_seq_cst);
    if (cancelled_.load(std::memory_order_seq_cst)) handler_.OnCancel(connection_->id, call_id);
  }

  void OnCancel() override {
    const bool open = !finished_.load(std::memory_order_acquire);
    cancelled_.store(true, std::memory_order_seq_cst);
    if (handed_.load(std::memory_order_seq_cst) && open) {
      handler_.OnCancel(connection_->id, call_id_.load(std::memory_order_relaxed));
    }
    FinishOnce(grpc::Status(grpc::StatusCode::CANCELLED, "the caller cancelled"));
  }

  /// By the handler, from any thread.
  void Reply(uint64_t call_id, const PeerHeader& header, absl::Span<const Tensor> tensors) {
    if (finished_.exchange(true, std::memory_order_acq_rel)) return;
    PeerEnvelope envelope;
    envelope.kind = PeerHeader::Kind::kReply;
    envelope.call_id = call_id;
    envelope.tensors = tensors;
    WriteGrpcMessage(header, envelope, &response_);
    reply_bytes_ = response_.Length();
    const uint64_t queued = connection_->reply_bytes.fetch_add(reply_bytes_, std::memory_order_relaxed);
    if (queued + reply_bytes_ > max_reply_bytes_) {
      Finish(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                          absl::StrCat("replies: got ", reply_bytes_, " bytes on top of ", queued,
                                       " that the peer has not read, want at most ", max_reply_bytes_)));
      return;
    }
    StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);
  }

  void OnDone() override;

  /// The first of all answers is sent; the others have no effect.
  void FinishOnce(const grpc::Status& status) {
    if (!finished_.exchange(true, std::memory_order_acq_rel)) Finish(status);
  }

 private:
  /// These two are used only until OnDone, which the listener waits for.
  GrpcListener& listener_;
  CallHandler& handler_;
  const PeerLimits limits_;
  const uint64_t max_reply_bytes_;
  const std::shared_ptr<Connection> connection_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
  uint64_t reply_bytes_ = 0;
  std::atomic<uint64_t> call_id_{0};
  /// The handler's OnCall() has returned.
  std::atomic<bool> handed_{false};
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> finished_{false};
  Ref<ServerCall> grpc_share_;
};

/// The stream by which a client sees this node: written to whenever the node has something new to say of itself.
class GreetingStream final : public grpc::ServerGenericBidiReactor {
 public:
  GreetingStream(GrpcListener& listener, std::shared_ptr<Connection> connection)
      : listener_(listener), connection_(std::move(connection)) {}

  void Start() { StartRead(&request_); }
  /// Sends `header` once the client has introduced itself; of several that wait for the one before, the last.
  void Say(const std::string& header);
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override { FinishOnce(grpc::Status::CANCELLED); }
  void OnDone() override;
  void FinishOnce(const grpc::Status& status) {
    MutexLock lock(&mutex_);
    if (!std::exchange(finished_, true)) Finish(status);
  }

 private:
  void Write(absl::string_view header) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    WriteGrpcHeader(header, &response_);
    writing_ = true;
    StartWrite(&response_);
  }

  GrpcListener& listener_;
  /// Held: an idle connection counts too.
  const std::shared_ptr<Connection> connection_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
  Mutex mutex_;
  bool greeted_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::string waiting_ ABSL_GUARDED_BY(mutex_);
};

class GrpcListener final : public Listener, private grpc::CallbackGenericService {
 public:
  GrpcListener(CallHandler& handler, ListenOptions options)
      : handler_(handler),
        options_(std::move(options)),
        connections_(std::make_shared<ConnectionTable>(options_.max_connections)),
        hello_(HelloHeader(options_.self)) {}
  ~GrpcListener() override;

  absl::Status Bind(const GrpcEndpoint& parsed);
  const std::string& endpoint() const override { return endpoint_; }

  void Announce(const PeerState& self) override {
    MutexLock lock(&mutex_);
    hello_ = HelloHeader(self);
    if (going_away_) return;
    for (GreetingStream* stream : streams_) stream->Say(hello_);
  }
  void GoAway() override {
    MutexLock lock(&mutex_);
    going_away_ = true;
    for (GreetingStream* stream : streams_) stream->Say(BareHeader(PeerHeader::Kind::kGoaway, 0));
  }

  /// A client has introduced itself.
  void Greet(GreetingStream& stream) {
    MutexLock lock(&mutex_);
    stream.Say(going_away_ ? BareHeader(PeerHeader::Kind::kGoaway, 0) : hello_);
  }
  // gRPC is done with them.
  void Leave(GreetingStream& stream) {
    MutexLock lock(&mutex_);
    streams_.erase(&stream);
  }
  void Leave(ServerCall& call) {
    MutexLock lock(&mutex_);
    calls_.erase(&call);
  }
  const PeerLimits& limits() const { return options_.limits; }

 private:
  /// Refuses a method or a connection.
  class Refusal final : public grpc::ServerGenericBidiReactor {
   public:
    explicit Refusal(const grpc::Status& status) { Finish(status); }
    void OnDone() override { delete this; }
  };

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    const bool call = context->method() == kGrpcCallMethod;
    if (!call && context->method() != kGrpcHelloMethod) {
      return new Refusal(
          grpc::Status(grpc::StatusCode::UNIMPLEMENTED,
                       absl::StrCat("method '", context->method(), "': this is a Portico peer endpoint")));
    }
    std::shared_ptr<Connection> connection = connections_->Get(context->peer());
    if (connection == nullptr) {
      return new Refusal(grpc::Status(
          grpc::StatusCode::RESOURCE_EXHAUSTED,
          absl::StrCat("endpoint '", endpoint_, "': got more connections than ", options_.max_connections)));
    }
    MutexLock lock(&mutex_);
    if (stopping_) return new Refusal(Stopping());
    if (call) {
      const Ref<ServerCall> started = MakeRef<ServerCall>(*this, handler_, options_, std::move(connection));
      calls_.insert(started.get());
      started->Start();
      return started.get();
    }
    auto* stream = new GreetingStream(*this, std::move(connection));
    streams_.insert(stream);
    stream->Start();
    return stream;
  }
  static grpc::Status Stopping() { return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the node is stopping"); }

  CallHandler& handler_;
  const ListenOptions options_;
  const std::shared_ptr<ConnectionTable> connections_;
  std::string endpoint_;
  Mutex mutex_;
  std::string hello_ ABSL_GUARDED_BY(mutex_);
  bool going_away_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  /// What gRPC is not done with; they leave before they are gone.
  absl::flat_hash_set<GreetingStream*> streams_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<ServerCall*> calls_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Server> server_;
};

GrpcListener::~GrpcListener() {
  if (server_ == nullptr) return;
  {
    // Under the lock none of them leaves; gRPC calls nobody back from within Finish().
    MutexLock lock(&mutex_);
    stopping_ = true;
    for (ServerCall* call : calls_) call->FinishOnce(Stopping());
    for (GreetingStream* stream : streams_) stream->FinishOnce(Stopping());
  }
  // Answers on their way arrive; then gRPC is done with every call and stream.
  server_->Shutdown(std::chrono::system_clock::now() + kFlushTime);
}

void ServerCall::OnDone() {
  const Ref<ServerCall> self = std::move(grpc_share_);
  connection_->reply_bytes.fetch_sub(reply_bytes_, std::memory_order_relaxed);
  response_.Clear();
  listener_.Leave(*this);
}

void GreetingStream::Say(const std::string& header) {
  MutexLock lock(&mutex_);
  if (finished_ || !greeted_) return;
  if (writing_) {
    waiting_ = header;
  } else {
    Write(header);
  }
}

void GreetingStream::OnReadDone(bool ok) {
  if (!ok) return FinishOnce(grpc::Status::OK);  // The client has closed its side.
  bool greeted;
  {
    MutexLock lock(&mutex_);
    greeted = greeted_;
  }
  if (!greeted) {
    PeerMessage message;
    if (!ReadGrpcMessage(request_, listener_.limits(), &message).ok() ||
        message.header.kind != PeerHeader::Kind::kHello) {
      return FinishOnce(
          grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "peer message: got something else, want a HELLO"));
    }
    {
      MutexLock lock(&mutex_);
      greeted_ = true;
    }
    listener_.Greet(*this);
  }
  StartRead(&request_);
}

void GreetingStream::OnWriteDone(bool ok) {
  MutexLock lock(&mutex_);
  writing_ = false;
  if (!ok || finished_ || waiting_.empty()) return;
  Write(std::exchange(waiting_, {}));
}

void GreetingStream::OnDone() {
  listener_.Leave(*this);
  delete this;
}

std::shared_ptr<grpc::ServerCredentials> CredentialsOf(const TransportSecurity& security) {
  if (security.own_secret_key.empty()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions ssl(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  ssl.pem_key_cert_pairs.push_back({security.own_secret_key, security.own_public_key});
  ssl.pem_root_certs = absl::StrJoin(security.allowed_keys, "\n");
  return grpc::SslServerCredentials(ssl);
}

absl::Status GrpcListener::Bind(const GrpcEndpoint& parsed) {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 100);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.SetMaxSendMessageSize(-1);
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(std::min<uint64_t>(options_.limits.max_message_bytes, std::numeric_limits<int>::max())));
  builder.AddListeningPort(parsed.address, CredentialsOf(options_.security), &port);
  builder.RegisterCallbackGenericService(this);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || port == 0) {
    return absl::UnavailableError(
        absl::StrCat("endpoint 'grpc://", parsed.address,
                     "': cannot listen; the port is taken, the host is not this machine's, or the TLS keys are wrong"));
  }
  const std::string host = parsed.address.substr(0, parsed.address.rfind(':'));
  endpoint_ = absl::StrCat("grpc://", host, ":", port);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> NewGrpcListener(const GrpcEndpoint& parsed, CallHandler& handler,
                                                          ListenOptions options) {
  auto listener = std::make_unique<GrpcListener>(handler, std::move(options));
  if (absl::Status status = listener->Bind(parsed); !status.ok()) return status;
  return listener;
}

}  // namespace portico
