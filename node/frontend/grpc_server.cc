#include "node/frontend/grpc_server.h"

#include <chrono>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "grpcpp/grpcpp.h"
#include "node/frontend/grpc_keys.h"

namespace portico {
namespace {

class Server final : public GrpcServer {
 public:
  explicit Server(const ServerTls& tls) : keys_(tls) {}
  ~Server() override { Stop(absl::ZeroDuration()); }

  absl::Status Listen(const Options& options, const std::vector<grpc::Service*>& services) {
    const size_t colon = options.address.rfind(':');
    if (!options.address.empty() && colon == std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("gRPC address '", options.address, "': got no port, want HOST:PORT"));
    }
    if (options.tls.enabled()) RETURN_IF_ERROR(CheckServerTls(options.tls));
    int port = 0;
    int socket = 1;
    grpc::ServerBuilder builder;
    if (!options.address.empty())
      builder.AddListeningPort(options.address, credentials_.emplace_back(keys_.NewCredentials()), &port);
    if (!options.socket_path.empty()) {
      builder.AddListeningPort(absl::StrCat("unix:", options.socket_path),
                               credentials_.emplace_back(keys_.NewCredentials()), &socket);
    }
    for (const auto& [name, value] : options.channel_arguments) {
      int number = 0;
      if (absl::SimpleAtoi(value, &number)) {
        builder.AddChannelArgument(name, number);
      } else {
        builder.AddChannelArgument(name, value);
      }
    }
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.SetMaxReceiveMessageSize(options.max_message_bytes);
    builder.SetMaxSendMessageSize(options.max_message_bytes);
    for (grpc::Service* service : services) builder.RegisterService(service);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || (port == 0 && !options.address.empty())) {
      return absl::UnavailableError(absl::StrCat("gRPC address '", options.address,
                                                 "': cannot listen there; choose a free port of this machine"));
    }
    if (socket == 0) {
      return absl::UnavailableError(absl::StrCat("gRPC socket '", options.socket_path,
                                                 "': cannot listen there; choose a path that can be written"));
    }
    if (port != 0) address_ = absl::StrCat(options.address.substr(0, colon), ":", port);
    return absl::OkStatus();
  }

  const std::string& address() const override { return address_; }

  absl::Status SetTls(const ServerTls& tls) override { return keys_.Set(tls); }

  void Stop(absl::Duration timeout) override {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(timeout));
    server_.reset();
  }

 private:
  std::string address_;
  GrpcKeys keys_;
  /// gRPC keeps what is inside them, which asks them for keys.
  std::vector<std::shared_ptr<grpc::ServerCredentials>> credentials_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(Options options, std::vector<grpc::Service*> services) {
  auto server = std::make_unique<Server>(options.tls);
  RETURN_IF_ERROR(server->Listen(options, services));
  return server;
}

}  // namespace portico
