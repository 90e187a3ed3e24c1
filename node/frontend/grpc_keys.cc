#include "node/frontend/grpc_keys.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "base/status_macros.h"
#include "grpcpp/security/server_credentials.h"

namespace portico {
namespace {

/// gRPC's own SSL credentials, which ask for keys again; its C++ API has only ones that never do, or that watch files
/// and use whatever is in them.
class Credentials final : public grpc::ServerCredentials {
 public:
  Credentials(const GrpcKeys& keys, bool mutual) : keys_(keys) {
    // Takes the options.
    credentials_ =
        grpc_ssl_server_credentials_create_with_options(grpc_ssl_server_credentials_create_options_using_config_fetcher(
            mutual ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                   : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
            &Credentials::Fetch, this));
  }
  ~Credentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  /// At the start and at each handshake, one at a time.
  static grpc_ssl_certificate_config_reload_status Fetch(void* self, grpc_ssl_server_certificate_config** config) {
    auto& credentials = *static_cast<Credentials*>(self);
    const std::unique_ptr<ServerTls> tls = credentials.keys_.Newer(&credentials.generation_);
    if (tls == nullptr) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const grpc_ssl_pem_key_cert_pair pair = {tls->private_key.c_str(), tls->certificates.c_str()};
    // gRPC aborts without roots even where no client's certificate is asked for; then these verify nobody.
    const std::string& roots = tls->mutual() ? tls->client_roots : tls->certificates;
    *config = grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const GrpcKeys& keys_;
  int64_t generation_ = -1;
  grpc_server_credentials* credentials_ = nullptr;
};

}  // namespace

absl::Status GrpcKeys::Set(const ServerTls& tls) {
  {
    MutexLock lock(&mutex_);
    if (!tls_.enabled() || tls.mutual() != tls_.mutual()) {
      return absl::FailedPreconditionError(
          "gRPC TLS: got keys that turn TLS or the check of clients' certificates on or off, want that as at the "
          "start; start the node again");
    }
  }
  RETURN_IF_ERROR(CheckServerTls(tls));
  MutexLock lock(&mutex_);
  tls_ = tls;
  ++generation_;
  return absl::OkStatus();
}

std::shared_ptr<grpc::ServerCredentials> GrpcKeys::NewCredentials() {
  bool enabled = false, mutual = false;
  {
    MutexLock lock(&mutex_);
    enabled = tls_.enabled();
    mutual = tls_.mutual();
  }
  if (!enabled) return grpc::InsecureServerCredentials();
  return std::make_shared<Credentials>(*this, mutual);
}

std::unique_ptr<ServerTls> GrpcKeys::Newer(int64_t* generation) const {
  MutexLock lock(&mutex_);
  if (*generation == generation_) return nullptr;
  *generation = generation_;
  return std::make_unique<ServerTls>(tls_);
}

}  // namespace portico
