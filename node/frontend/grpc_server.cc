#include "node/frontend/grpc_server.h"

#include <chrono>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"

namespace portico {
namespace {

std::shared_ptr<grpc::ServerCredentials> CredentialsOf(const ServerTls& tls) {
  if (!tls.enabled()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options(tls.client_roots.empty()
                                                ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                                : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_key_cert_pairs.push_back({tls.private_key, tls.certificates});
  options.pem_root_certs = tls.client_roots;
  return grpc::SslServerCredentials(options);
}

class Server final : public GrpcServer {
 public:
  ~Server() override { Stop(absl::ZeroDuration()); }

  absl::Status Listen(const Options& options, const std::vector<grpc::Service*>& services) {
    const size_t colon = options.address.rfind(':');
    if (!options.address.empty() && colon == std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("gRPC address '", options.address, "': got no port, want HOST:PORT"));
    }
    // Says to gRPC that every server from now on answers reflection, too; saying it again changes nothing.
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    int port = 0;
    int socket = 1;
    grpc::ServerBuilder builder;
    if (!options.address.empty()) builder.AddListeningPort(options.address, CredentialsOf(options.tls), &port);
    if (!options.socket_path.empty()) {
      builder.AddListeningPort(absl::StrCat("unix:", options.socket_path), CredentialsOf(options.tls), &socket);
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

  void Stop(absl::Duration timeout) override {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(timeout));
    server_.reset();
  }

 private:
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(Options options, std::vector<grpc::Service*> services) {
  auto server = std::make_unique<Server>();
  RETURN_IF_ERROR(server->Listen(options, services));
  return server;
}

}  // namespace portico
