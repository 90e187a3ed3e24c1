#include "cli/serve_peer_flags.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/pem_file.h"

namespace portico {
namespace {

constexpr int kMaxLoops = 64;
constexpr int64_t kMaxSpinUs = 1'000'000;
constexpr int64_t kMaxDeadAfterMs = 60'000;

class PeerFlags final : public ServeFlags {
 public:
  void AddTo(CLI::App& command) override {
    constexpr char kGroup[] = "Between nodes (docs/security.md, docs/mesh_yaml.md)";
    const auto file = [&](const char* flag, std::string* value, const char* what) {
      command.add_option(flag, *value, what)->type_name("FILE")->group(kGroup);
    };
    file("--peer-tls-key", &key_, "PEM private key for tcp:// and grpc:// between nodes, which is then TLS");
    file("--peer-tls-cert", &cert_, "PEM certificate that this node shows to callers and to nodes it calls");
    file("--peer-tls-allow", &allow_, "PEM authorities, or single certificates, of the nodes that may connect");
    file("--peer-tls-roots", &roots_, "PEM authorities of the nodes it calls; default: those of --peer-tls-allow");
    command
        .add_option("--zone", zone_,
                    "Where this node stands, for balance: locality; in a mesh in place of what its file says")
        ->type_name("NAME")
        ->envname("PORTICO_ZONE")
        ->group(kGroup);
    command
        .add_option("--peer-loops", loops_, "Threads that carry tcp:// and unix://; connections are spread over them")
        ->check(CLI::Range(1, kMaxLoops))
        ->capture_default_str()
        ->group(kGroup);
    command
        .add_option("--peer-spin-us", spin_us_,
                    "How long such a thread looks for more after it ran out of work, before it sleeps: faster single "
                    "calls, for a core; 0: not at all")
        ->check(CLI::Range(int64_t{0}, kMaxSpinUs))
        ->envname("PORTICO_PEER_SPIN_US")
        ->capture_default_str()
        ->group(kGroup);
    command
        .add_option("--peer-dead-after-ms", dead_after_ms_,
                    "A node that has calls in hand and gives no sign of life for so long is lost: they go to another "
                    "one; 0: after some 5 s")
        ->check(CLI::Range(int64_t{0}, kMaxDeadAfterMs))
        ->envname("PORTICO_PEER_DEAD_AFTER_MS")
        ->capture_default_str()
        ->group(kGroup);
  }

  absl::Status Apply(Node::Options* options) const override {
    options->transports.stream.loops = loops_;
    if (!zone_.empty()) options->zone = zone_;
    options->transports.stream.spin = absl::Microseconds(spin_us_);
    options->peer_dead_after = absl::Milliseconds(dead_after_ms_);
    return ApplyTls(options);
  }

 private:
  absl::Status ApplyTls(Node::Options* options) const {
    // Flags stand in for what the mesh says.
    NodeKeys& keys = options->keys;
    if (!(key_ + cert_ + allow_ + roots_).empty()) {
      keys.peer_tls_key = key_;
      keys.peer_tls_cert = cert_;
      keys.peer_tls_allow = allow_;
      keys.peer_tls_roots = roots_;
    }
    const std::string &key = keys.peer_tls_key, &cert = keys.peer_tls_cert, &allow = keys.peer_tls_allow;
    if (key.empty() && cert.empty() && allow.empty() && keys.peer_tls_roots.empty()) return absl::OkStatus();
    if (key.empty() || cert.empty() || allow.empty()) {
      return absl::InvalidArgumentError(
          "--peer-tls-key, --peer-tls-cert, --peer-tls-allow: got some of them, want all: own key, own certificate, "
          "and who may connect");
    }
    if (!options->listen_security.own_secret_key.empty()) {
      return absl::InvalidArgumentError("--peer-tls-key, --curve-key: got both, want one of them");
    }
    RETURN_IF_ERROR(CheckPrivateFile("--peer-tls-key", key));
    TransportSecurity& listen = options->listen_security;
    ASSIGN_OR_RETURN(listen.own_secret_key, ReadPem("--peer-tls-key", key, PemKind::kPrivateKey));
    ASSIGN_OR_RETURN(listen.own_public_key, ReadPem("--peer-tls-cert", cert, PemKind::kCertificates));
    ASSIGN_OR_RETURN(const std::string allowed, ReadPem("--peer-tls-allow", allow, PemKind::kCertificates));
    listen.allowed_keys = {allowed};
    TransportSecurity& call = options->call_security;
    call.own_secret_key = listen.own_secret_key;
    call.own_public_key = listen.own_public_key;
    call.peer_public_key = allowed;
    if (!keys.peer_tls_roots.empty()) {
      ASSIGN_OR_RETURN(call.peer_public_key, ReadPem("--peer-tls-roots", keys.peer_tls_roots, PemKind::kCertificates));
    }
    return absl::OkStatus();
  }

  static absl::Status CheckPrivateFile(const char* flag, const std::string& path) {
    struct stat info {};
    if (stat(path.c_str(), &info) != 0) return WithContext(flag, ErrnoStatus(errno, "stat", path));
    if ((info.st_mode & 077) == 0) return absl::OkStatus();
    return absl::PermissionDeniedError(absl::StrCat(
        flag, ": got file '", path, "' that others may read, want it private; run chmod 600 '", path, "'"));
  }

  std::string key_, cert_, allow_, roots_;
  std::string zone_;
  int loops_ = StreamTransportOptions().loops;
  int64_t spin_us_ = 0;
  int64_t dead_after_ms_ = absl::ToInt64Milliseconds(ChannelOptions().dead_after);
};

}  // namespace

std::unique_ptr<ServeFlags> NewPeerFlags() { return std::make_unique<PeerFlags>(); }

}  // namespace portico
