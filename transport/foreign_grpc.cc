#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/client_callback.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "transport/foreign_wire.h"
#include "transport/grpc_bytes.h"

namespace portico {
namespace {

/// One unary call. Shared by its owner and, until OnDone, by gRPC.
class GrpcExchange final : public ForeignExchange, public grpc::ClientUnaryReactor {
 public:
  GrpcExchange(grpc::GenericStub& stub, ForeignRequest request, const ForeignHeaders& headers, Done done)
      : stub_(stub), method_(request.method), done_(std::move(done)) {
    SendMessage(std::move(request.body), &request_);
    for (const auto& [name, value] : headers) context_.AddMetadata(name, value);
  }

  void Start(absl::Duration timeout, bool wait) override {
    context_.set_wait_for_ready(wait);
    if (timeout < absl::InfiniteDuration()) {
      // gRPC counts in milliseconds: one more, so that it is never early.
      context_.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(timeout) +
                            std::chrono::milliseconds(1));
    }
    grpc_share_ = Ref<GrpcExchange>(this);
    stub_.PrepareUnaryCall(&context_, method_, grpc::StubOptions(), &request_, &response_, this);
    StartCall();
  }

  void Cancel() override { context_.TryCancel(); }

  void OnDone(const grpc::Status& status) override {
    const Ref<GrpcExchange> self = std::move(grpc_share_);
    request_.Clear();
    Done done = std::move(done_);
    if (status.ok()) {
      done(ReceiveMessage(response_));
    } else {
      done(absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message()));
    }
  }

 private:
  grpc::GenericStub& stub_;
  const char* const method_;
  Done done_;
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
  Ref<GrpcExchange> grpc_share_;
};

std::shared_ptr<grpc::Channel> Dial(const ForeignWireOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // No keepalive pings: servers that know nothing of us hang up on them. Probes see a server that is gone.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetMaxReceiveMessageSize(
      static_cast<int>(std::min<uint64_t>(options.max_message_bytes, std::numeric_limits<int>::max())));
  if (!options.tls) {
    return grpc::CreateCustomChannel(options.address, grpc::InsecureChannelCredentials(), arguments);
  }
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = options.root_certificates;
  ssl.pem_private_key = options.own_key;
  ssl.pem_cert_chain = options.own_certificate;
  return grpc::CreateCustomChannel(options.address, grpc::SslCredentials(ssl), arguments);
}

class GrpcWire final : public ForeignWire {
 public:
  explicit GrpcWire(const ForeignWireOptions& options) : stub_(Dial(options)) {}
  Ref<ForeignExchange> NewExchange(ForeignRequest request, const ForeignHeaders& headers,
                                   ForeignExchange::Done done) override {
    return MakeRef<GrpcExchange>(stub_, std::move(request), headers, std::move(done));
  }

 private:
  grpc::GenericStub stub_;
};

}  // namespace

std::unique_ptr<ForeignWire> NewForeignGrpcWire(const ForeignWireOptions& options) {
  return std::make_unique<GrpcWire>(options);
}

}  // namespace portico
