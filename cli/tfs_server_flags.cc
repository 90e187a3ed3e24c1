#include <optional>
#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/tfs_flags.h"
#include "node/servables/proto_text_file.h"
#include "tensorflow_serving/server_files.pb.h"

namespace portico {
namespace {

constexpr int kDefaultPort = 8500;
constexpr int kDefaultRestPort = 8501;
constexpr uint64_t kMaxSslConfigBytes = uint64_t{1} << 20;

class TfsServerFlags final : public ServeFlags {
 public:
  void AddTo(CLI::App& command) override {
    constexpr char kGroup[] = "Listening, as TensorFlow Serving names it";
    command.add_option("--host", host_, "Address that --port and --rest_api_port listen on; 0.0.0.0: all")
        ->type_name("ADDRESS")
        ->group(kGroup);
    command.add_option("--port", port_, "Port of the gRPC API; 0: none")->check(CLI::Range(0, 65535))->group(kGroup);
    command.add_option("--rest_api_port", rest_port_, "Port of REST, metrics and health; 0: none")
        ->check(CLI::Range(0, 65535))
        ->group(kGroup);
    command
        .add_option("--rest_api_timeout_in_ms", rest_timeout_ms_, "Limit for a REST request; 0: none; default 30000")
        ->check(CLI::NonNegativeNumber)
        ->group(kGroup);
    command.add_flag("--rest_api_enable_cors_support", cors_, "Scripts of any web page may use REST")->group(kGroup);
    command.add_option("--grpc_socket_path", socket_path_, "Unix socket of the gRPC API")
        ->type_name("PATH")
        ->group(kGroup);
    command
        .add_option("--grpc_channel_arguments", channel_arguments_,
                    "gRPC's own settings, such as grpc.max_connection_age_ms=2000")
        ->type_name("KEY=VALUE,...")
        ->group(kGroup);
    command.add_option("--ssl_config_file", ssl_file_, "Keys of the gRPC API, a text protobuf of type SSLConfig")
        ->type_name("FILE")
        ->group(kGroup);
    command.add_flag("--ssl-config-for-rest", ssl_for_rest_, "The keys of --ssl_config_file are for REST, too")
        ->group(kGroup);
    command
        .add_option("--monitoring_config_file", monitoring_file_,
                    "Path of the metrics, a text protobuf of type MonitoringConfig")
        ->type_name("FILE")
        ->group(kGroup);
  }

  absl::Status Apply(Node::Options* options) const override {
    if (!socket_path_.empty()) options->grpc.socket_path = socket_path_;
    RETURN_IF_ERROR(ApplyPorts(options));
    if (rest_timeout_ms_) options->rest_timeout = absl::Milliseconds(*rest_timeout_ms_);
    options->http.cors |= cors_;
    RETURN_IF_ERROR(ApplyChannelArguments(options));
    RETURN_IF_ERROR(ApplySsl(options));
    return ApplyMonitoring(options);
  }

  std::vector<std::string> GivenMeshFlags() const override {
    std::vector<std::string> given;
    if (!host_.empty()) given.push_back("--host");
    if (port_) given.push_back("--port");
    if (rest_port_) given.push_back("--rest_api_port");
    return given;
  }

 private:
  absl::Status ApplyPorts(Node::Options* options) const {
    // An IPv6 address stands in brackets before a port.
    const std::string host = host_.empty() ? "127.0.0.1"
                             : absl::StrContains(host_, ':') && !absl::StartsWith(host_, "[")
                                 ? absl::StrCat("[", host_, "]")
                                 : host_;
    const auto at = [&](int port) { return port == 0 ? "" : absl::StrCat(host, ":", port); };
    if (!port_ && !rest_port_) {
      // Only that the address differs, or that a socket comes on top.
      if ((host_.empty() && socket_path_.empty()) || !options->peer.empty()) return absl::OkStatus();
      if (options->grpc.address.empty() && options->http.address.empty()) {
        options->grpc.address = at(kDefaultPort);
        if (!host_.empty()) options->http.address = at(kDefaultRestPort);
      }
      return absl::OkStatus();
    }
    if ((port_ && !options->grpc.address.empty()) || (rest_port_ && !options->http.address.empty())) {
      return absl::InvalidArgumentError(
          "--port, --grpc; --rest_api_port, --http: got two of a kind, want one address for each API");
    }
    if (port_.value_or(kDefaultPort) == rest_port_.value_or(0) && rest_port_.value_or(0) != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--port, --rest_api_port: got ", *rest_port_, " for both, want two ports"));
    }
    if (options->grpc.address.empty()) options->grpc.address = at(port_.value_or(kDefaultPort));
    if (rest_port_) options->http.address = at(*rest_port_);
    if (options->grpc.address.empty() && options->http.address.empty() && socket_path_.empty() &&
        options->peer.empty()) {
      return absl::InvalidArgumentError(
          "--port: got 0, which is no port, and no --rest_api_port or --grpc_socket_path; nothing would listen");
    }
    return absl::OkStatus();
  }

  absl::Status ApplyChannelArguments(Node::Options* options) const {
    if (channel_arguments_.empty()) return absl::OkStatus();
    for (const absl::string_view argument : absl::StrSplit(channel_arguments_, ',')) {
      std::pair<std::string, std::string> pair = absl::StrSplit(argument, absl::MaxSplits('=', 1));
      if (pair.first.empty() || pair.second.empty()) {
        return absl::InvalidArgumentError(absl::StrCat("--grpc_channel_arguments: got '", argument,
                                                       "', want KEY=VALUE, such as "
                                                       "grpc.max_connection_age_ms=2000"));
      }
      options->grpc.channel_arguments.push_back(std::move(pair));
    }
    return absl::OkStatus();
  }

  absl::Status ApplySsl(Node::Options* options) const {
    if (ssl_file_.empty()) {
      if (!ssl_for_rest_) return absl::OkStatus();
      return absl::InvalidArgumentError("--ssl-config-for-rest: got it without --ssl_config_file; give that, too");
    }
    ASSIGN_OR_RETURN(std::string text, ReadFile(ssl_file_, kMaxSslConfigBytes));
    TlsFiles& source = options->tls_files;
    source.files.subject = "--ssl_config_file";
    source.files.max_bytes = kMaxSslConfigBytes;
    source.files.paths = {ssl_file_};
    source.read = [path = ssl_file_](const std::vector<std::string>& texts) { return KeysOf(path, texts.front()); };
    ASSIGN_OR_RETURN(options->grpc.tls, source.read({std::move(text)}));
    if (ssl_for_rest_) options->http.tls = options->grpc.tls;
    return absl::OkStatus();
  }

  static absl::StatusOr<ServerTls> KeysOf(const std::string& path, const std::string& text) {
    tensorflow::serving::SSLConfig config;
    RETURN_IF_ERROR(ParseProtoText(path, text, &config));
    const auto missing = [&](absl::string_view field) {
      return absl::InvalidArgumentError(absl::StrCat("file '", path, "': ", field, ": got none, want PEM text"));
    };
    if (config.server_key().empty()) return missing("server_key");
    if (config.server_cert().empty()) return missing("server_cert");
    if (config.client_verify() && config.custom_ca().empty()) return missing("client_verify: custom_ca");
    ServerTls tls;
    tls.private_key = config.server_key();
    tls.certificates = config.server_cert();
    if (config.client_verify()) tls.client_roots = config.custom_ca();
    return tls;
  }

  absl::Status ApplyMonitoring(Node::Options* options) const {
    if (monitoring_file_.empty()) return absl::OkStatus();
    tensorflow::serving::MonitoringConfig config;
    RETURN_IF_ERROR(ReadProtoTextFile(monitoring_file_, &config));
    const auto& prometheus = config.prometheus_config();
    if (!prometheus.enable()) LogWarning("--monitoring_config_file: metrics are served at /metrics all the same");
    if (prometheus.path().empty()) return absl::OkStatus();
    if (!absl::StartsWith(prometheus.path(), "/")) {
      return absl::InvalidArgumentError(absl::StrCat("file '", monitoring_file_, "': path: got '", prometheus.path(),
                                                     "', want one that begins with a slash"));
    }
    options->metrics_path = prometheus.path();
    return absl::OkStatus();
  }

  std::string host_;
  std::optional<int> port_;
  std::optional<int> rest_port_;
  std::optional<int64_t> rest_timeout_ms_;
  bool cors_ = false;
  std::string socket_path_;
  std::string channel_arguments_;
  std::string ssl_file_;
  bool ssl_for_rest_ = false;
  std::string monitoring_file_;
};

}  // namespace

std::unique_ptr<ServeFlags> NewTfsServerFlags() { return std::make_unique<TfsServerFlags>(); }

}  // namespace portico
