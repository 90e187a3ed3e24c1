#include "cli/serve_security_flags.h"

#include <arpa/inet.h>

#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/pem_file.h"

namespace portico {
namespace {

constexpr uint64_t kMaxPemBytes = uint64_t{1} << 20;

class SecurityFlags final : public ServeFlags {
 public:
  void AddTo(CLI::App& command) override {
    constexpr char kGroup[] = "Security and limits of clients";
    const auto file = [&](const char* flag, std::string* value, const char* what) {
      command.add_option(flag, *value, what)->type_name("FILE")->group(kGroup);
    };
    file("--tenants-file", &tenants_, "Who may send requests, by bearer token: YAML, followed; docs/security.md");
    file("--tls-key", &key_, "PEM private key of both client listeners, which are then TLS");
    file("--tls-cert", &cert_, "PEM certificate of the server, then its chain");
    file("--tls-client-ca", &client_ca_, "PEM roots of the clients' certificates; one is then required (mutual TLS)");
    command
        .add_flag("--insecure", insecure_,
                  "Listen beyond this machine although without TLS or without tokens, and know it")
        ->envname("PORTICO_INSECURE")
        ->group(kGroup);
    command.add_option("--max-body-bytes", max_body_bytes_, "Largest HTTP body and gRPC message")
        ->check(CLI::Range(int64_t{1}, int64_t{2147483647}))
        ->group(kGroup);
    command.add_option("--max-http-connections", max_connections_, "More are closed as they come; default 4096")
        ->check(CLI::PositiveNumber)
        ->group(kGroup);
    command
        .add_option("--http-compress-min-bytes", min_packed_bytes_,
                    "Smallest HTTP answer that clients get as gzip where they accept it; default 1024; 0: none")
        ->check(CLI::NonNegativeNumber)
        ->group(kGroup);
    command.add_option("--http-idle-timeout-ms", idle_ms_, "A silent HTTP connection is closed; default 60000")
        ->check(CLI::PositiveNumber)
        ->group(kGroup);
    command
        .add_option("--http-header-timeout-ms", header_ms_,
                    "A TLS handshake, or an HTTP header from its first byte on, takes at most; default 20000")
        ->check(CLI::PositiveNumber)
        ->group(kGroup);
  }

  absl::Status Apply(Node::Options* options) const override {
    // Flags stand in for what the mesh says.
    if (!tenants_.empty()) options->keys.tenants = tenants_;
    if (!options->keys.tenants.empty()) options->tenants.path = options->keys.tenants;
    RETURN_IF_ERROR(ApplyTls(options));
    if (max_body_bytes_) {
      options->http.max_body_bytes = static_cast<uint64_t>(*max_body_bytes_);
      options->grpc.max_message_bytes = static_cast<int>(*max_body_bytes_);
    }
    if (min_packed_bytes_) options->http.min_packed_bytes = static_cast<uint64_t>(*min_packed_bytes_);
    if (max_connections_) options->http.max_connections = *max_connections_;
    if (idle_ms_) options->http.idle_timeout = absl::Milliseconds(*idle_ms_);
    if (header_ms_) options->http.header_timeout = absl::Milliseconds(*header_ms_);
    RETURN_IF_ERROR(CheckListener("HTTP", options->http.address, options->http.tls, *options));
    return CheckListener("gRPC", options->grpc.address, options->grpc.tls, *options);
  }

 private:
  absl::Status ApplyTls(Node::Options* options) const {
    NodeKeys& keys = options->keys;
    if (!(key_ + cert_ + client_ca_).empty()) {
      keys.tls_key = key_;
      keys.tls_cert = cert_;
      keys.tls_client_ca = client_ca_;
    }
    const std::string &key = keys.tls_key, &cert = keys.tls_cert, &client_ca = keys.tls_client_ca;
    if (key.empty() != cert.empty()) {
      return absl::InvalidArgumentError("--tls-key, --tls-cert: got one of them, want both");
    }
    if (key.empty()) {
      if (client_ca.empty()) return absl::OkStatus();
      return absl::InvalidArgumentError("--tls-client-ca: got it without --tls-key and --tls-cert; give them, too");
    }
    if (options->grpc.tls.enabled()) {
      return absl::InvalidArgumentError("--tls-key, --ssl_config_file: got both, want one of them");
    }
    TlsFiles& source = options->tls_files;
    source.files.subject = "TLS keys";
    source.files.max_bytes = kMaxPemBytes;
    source.files.paths = {key, cert};
    if (!client_ca.empty()) source.files.paths.push_back(client_ca);
    source.read = [paths = source.files.paths](const std::vector<std::string>& texts) { return KeysOf(paths, texts); };
    std::vector<std::string> texts(2);
    ASSIGN_OR_RETURN(texts[0], ReadPem("--tls-key", key, PemKind::kPrivateKey));
    ASSIGN_OR_RETURN(texts[1], ReadPem("--tls-cert", cert, PemKind::kCertificates));
    if (!client_ca.empty()) {
      ASSIGN_OR_RETURN(texts.emplace_back(), ReadPem("--tls-client-ca", client_ca, PemKind::kCertificates));
    }
    ASSIGN_OR_RETURN(options->grpc.tls, source.read(texts));
    options->http.tls = options->grpc.tls;
    return absl::OkStatus();
  }

  /// Of key, certificate and, where there are three, the clients' roots.
  static absl::StatusOr<ServerTls> KeysOf(const std::vector<std::string>& paths,
                                          const std::vector<std::string>& texts) {
    RETURN_IF_ERROR(CheckPem("--tls-key", paths[0], texts[0], PemKind::kPrivateKey));
    RETURN_IF_ERROR(CheckPem("--tls-cert", paths[1], texts[1], PemKind::kCertificates));
    if (paths.size() == 2) return ServerTls{texts[0], texts[1], ""};
    RETURN_IF_ERROR(CheckPem("--tls-client-ca", paths[2], texts[2], PemKind::kCertificates));
    return ServerTls{texts[0], texts[1], texts[2]};
  }

  /// Beyond this machine, a listener wants TLS, and to know its clients: by tokens or by their certificates.
  absl::Status CheckListener(absl::string_view what, const std::string& address, const ServerTls& tls,
                             const Node::Options& options) const {
    if (insecure_ || address.empty() || IsLoopbackAddress(address)) return absl::OkStatus();
    const bool knows_clients = !options.tenants.path.empty() || !tls.client_roots.empty();
    if (tls.enabled() && knows_clients) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(what, " address '", address, "': got one that other machines reach, ",
                     tls.enabled() ? "without tokens (--tenants-file) or client certificates (--tls-client-ca)"
                                   : "without TLS (--tls-key, --tls-cert)",
                     "; give them, listen on 127.0.0.1, or say --insecure"));
  }

  std::string tenants_, key_, cert_, client_ca_;
  bool insecure_ = false;
  std::optional<int64_t> max_body_bytes_, min_packed_bytes_;
  std::optional<uint32_t> max_connections_;
  std::optional<int64_t> idle_ms_, header_ms_;
};

}  // namespace

bool IsLoopbackAddress(absl::string_view address) {
  const std::string host(address.substr(0, address.rfind(':')));
  if (host == "[::1]" || host == "localhost") return true;
  // A name that begins like a number may be anywhere.
  in_addr parsed;
  return inet_pton(AF_INET, host.c_str(), &parsed) == 1 && (ntohl(parsed.s_addr) >> 24) == 127;
}

std::unique_ptr<ServeFlags> NewSecurityFlags() { return std::make_unique<SecurityFlags>(); }

}  // namespace portico
