#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/cpu_list.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/curve_keys.h"
#include "cli/report_error.h"
#include "cli/serve_etcd_flags.h"
#include "cli/serve_flags.h"
#include "deploy/node_status.h"
#include "deploy/signal_fd.h"
#include "node/node.h"

namespace portico {
namespace {

constexpr absl::Duration kPortalCheckPeriod = absl::Milliseconds(50);
/// How often the status file tells what the arms of split traffic have done; ramps go by it.
constexpr absl::Duration kTrafficPeriod = absl::Milliseconds(500);

struct Flags {
  std::string revision;
  std::string node;
  int replica = 0;
  std::vector<std::string> models;
  std::string grpc;
  std::string http;
  std::string peer;
  std::vector<std::string> remotes;
  int workers = 0;
  int http_threads = 0;
  std::string status_file;
  std::string curve_key;
  std::string curve_allow;
  std::string curve_server_key;
  std::string log_level = "info";
  std::vector<std::unique_ptr<ServeFlags>> groups = AllServeFlags();
  /// Not among the groups: revisions may come from there before anything else is known.
  ServeEtcdFlags etcd;
};

/// "NAME=VALUE" in two. `flag` is for the message.
absl::StatusOr<std::pair<std::string, std::string>> SplitPair(absl::string_view flag, const std::string& text,
                                                              absl::string_view form) {
  std::pair<std::string, std::string> pair = absl::StrSplit(text, absl::MaxSplits('=', 1));
  if (!pair.first.empty() && !pair.second.empty()) return pair;
  return absl::InvalidArgumentError(absl::StrCat(flag, ": got '", text, "', want ", form));
}

/// What flags say of a node that no mesh knows.
absl::StatusOr<Node::Options> StandaloneOptions(const Flags& flags) {
  Node::Options options;
  options.name = flags.node.empty() ? "node" : flags.node;
  for (const std::string& model : flags.models) {
    ASSIGN_OR_RETURN(auto pair, SplitPair("--model", model, "NAME=BASE, such as digit=packages/digit"));
    options.models.push_back({pair.first, pair.second});
  }
  options.grpc.address = flags.grpc;
  options.http.address = flags.http;
  options.peer = flags.peer;
  options.workers = flags.workers;
  for (const std::string& remote : flags.remotes) {
    ASSIGN_OR_RETURN(const auto pair, SplitPair("--remote", remote, "TARGET=ENDPOINT[,ENDPOINT]"));
    for (const absl::string_view endpoint : absl::StrSplit(pair.second, ',')) {
      options.peers[pair.first].emplace_back(endpoint);
    }
  }
  return options;
}

/// `pointer`: to the mesh's current revision.
absl::StatusOr<Node::Options> MeshOptions(const Flags& flags, const std::string& pointer) {
  if (flags.node.empty()) return absl::InvalidArgumentError("--revision: got no --node, want which node of it this is");
  std::vector<std::string> given;
  for (const auto& group : flags.groups) {
    for (std::string& flag : group->GivenMeshFlags()) given.push_back(std::move(flag));
  }
  if (!given.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--revision: got ", absl::StrJoin(given, ", "), ", which the revision decides; leave it out"));
  }
  if (!flags.models.empty() || !flags.remotes.empty() || !flags.grpc.empty() || !flags.http.empty() ||
      flags.workers != 0) {
    return absl::InvalidArgumentError(
        "--revision: got flags that the revision decides (--model, --grpc, --http, --remote, --workers), want "
        "none; leave them out");
  }
  ASSIGN_OR_RETURN(const Revision revision, ReadRevision(pointer));
  absl::StatusOr<Node::Options> options = Node::OptionsFor(revision, flags.node, flags.replica);
  if (absl::IsNotFound(options.status())) {
    // It comes with the next revision.
    const auto next = ReadRevision(std::filesystem::path(pointer).replace_filename("next"));
    if (next.ok()) options = Node::OptionsFor(*next, flags.node, flags.replica);
  }
  if (!options.ok()) return options;
  if (!flags.peer.empty()) {
    if (!options->peer.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("--peer: got '", flags.peer, "' where the revision says '",
                                                     options->peer, "', want one of them"));
    }
    options->peer = flags.peer;
  }
  options->revisions.pointer = pointer;
  options->revisions.node = flags.node;
  options->revisions.replica = flags.replica;
  return options;
}

/// What flags leave open of a node that no mesh knows.
absl::Status CompleteStandalone(Node::Options* options) {
  if (options->models.empty() && options->model_config_file.path.empty()) {
    return absl::InvalidArgumentError(
        "got nothing to serve, want --model NAME=BASE (repeatable), --model_base_path BASE, --model_config_file FILE, "
        "or --revision FILE --node NAME of a mesh");
  }
  if (options->grpc.address.empty() && options->http.address.empty() && options->grpc.socket_path.empty() &&
      options->peer.empty()) {
    options->grpc.address = "127.0.0.1:8500";
    options->http.address = "127.0.0.1:8501";
  }
  return absl::OkStatus();
}

absl::StatusOr<Node::Options> OptionsFrom(const Flags& flags, const std::string& pointer) {
  ASSIGN_OR_RETURN(Node::Options options, pointer.empty() ? StandaloneOptions(flags) : MeshOptions(flags, pointer));
  if (flags.http_threads != 0) options.http.threads = flags.http_threads;
  if (flags.curve_key.empty() != flags.curve_allow.empty()) {
    return absl::InvalidArgumentError("--curve-key, --curve-allow: got one, want both: own keys, and who may connect");
  }
  // Flags stand in for what the mesh says.
  NodeKeys& keys = options.keys;
  if (!flags.curve_key.empty()) {
    keys.curve_key = flags.curve_key;
    keys.curve_allow = flags.curve_allow;
    keys.curve_server_key = flags.curve_server_key;
  }
  if (!keys.curve_key.empty()) {
    RETURN_IF_ERROR(ReadCurveKeys(keys.curve_key, keys.curve_allow, keys.curve_server_key, &options.listen_security,
                                  &options.call_security));
  }
  for (const auto& group : flags.groups) RETURN_IF_ERROR(group->Apply(&options));
  RETURN_IF_ERROR(flags.etcd.Apply(&options));
  options.etcd.node = flags.node.empty() ? "node" : flags.node;
  options.etcd.replica = flags.replica;
  if (pointer.empty()) RETURN_IF_ERROR(CompleteStandalone(&options));
  return options;
}

/// Portals that don't reach their target now.
std::vector<std::string> DegradedPortals(Node& node) {
  std::vector<std::string> portals;
  for (const auto& servable : node.inference().servables().Available()) {
    for (const std::string& portal : servable->Degraded())
      portals.push_back(absl::StrCat(servable->name(), ": ", portal));
  }
  return portals;
}

NodeStatus StatusOf(Node& node, const Flags& flags, const std::string& name) {
  NodeStatus status;
  status.node = flags.node.empty() ? name : flags.node;
  status.replica = flags.replica;
  status.pid = getpid();
  status.ready = node.Ready().ok();
  status.grpc = node.grpc_address();
  status.http = node.http_address();
  status.peer = node.peer_endpoint();
  status.degraded = DegradedPortals(node);
  status.traffic = node.Traffic();
  const Servables& servables = node.inference().servables();
  for (const std::string& model : servables.Names()) {
    const auto versions = servables.Status({.name = model});
    if (!versions.ok()) status.models.push_back({model, 0, "END", std::string(versions.status().message())});
    if (!versions.ok()) continue;
    for (const Servables::VersionStatus& version : *versions) {
      status.models.push_back({model, version.version, std::string(Servables::StateName(version.state)),
                               std::string(version.status.message())});
    }
  }
  return status;
}

/// "serving on grpc 127.0.0.1:8500, http 127.0.0.1:8501".
void SayAddresses(const NodeStatus& status) {
  std::vector<std::string> addresses;
  for (const auto& [kind, address] :
       {std::pair("grpc", &status.grpc), {"http", &status.http}, {"peer", &status.peer}}) {
    if (!address->empty()) addresses.push_back(absl::StrCat(kind, " ", *address));
  }
  const std::string line = absl::StrCat("serving on ", absl::StrJoin(addresses, ", "), "\n");
  std::fputs(line.c_str(), stdout);
  std::fflush(stdout);
}

/// The status file of this process: written when it is ready, and whenever it stands elsewhere with its mesh's
/// revisions. Thread-safe.
class StatusFile {
 public:
  /// `flags` are not owned and must outlive it.
  StatusFile(const Flags& flags, std::string name) : flags_(flags), name_(std::move(name)) {}

  /// Before Begin() it is only remembered.
  void OnRevisions(const RevisionState& state) {
    MutexLock lock(&mutex_);
    revisions_ = {state.current, state.prepared, state.oldest, state.refused, state.why};
    if (node_ == nullptr) return;
    const absl::Status status = Write(StatusNow());
    if (!status.ok()) LogError(absl::StrCat("status file: ", status.message()));
  }
  /// `node` is not owned and must live until End().
  absl::StatusOr<NodeStatus> Begin(Node& node) {
    MutexLock lock(&mutex_);
    node_ = &node;
    NodeStatus status = StatusNow();
    RETURN_IF_ERROR(Write(status));
    return status;
  }
  absl::Status Update() {
    MutexLock lock(&mutex_);
    return Write(StatusNow());
  }
  /// Not ready any more.
  absl::Status End() {
    MutexLock lock(&mutex_);
    NodeStatus status = StatusNow();
    node_ = nullptr;
    status.ready = false;
    return Write(status);
  }

 private:
  NodeStatus StatusNow() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    NodeStatus status = StatusOf(*node_, flags_, name_);
    status.revisions = revisions_;
    return status;
  }
  absl::Status Write(const NodeStatus& status) const {
    if (flags_.status_file.empty()) return absl::OkStatus();
    return WriteFileAtomically(flags_.status_file, FormatNodeStatus(status));
  }

  const Flags& flags_;
  const std::string name_;
  Mutex mutex_;
  Node* node_ ABSL_GUARDED_BY(mutex_) = nullptr;
  NodeStatus::Revisions revisions_ ABSL_GUARDED_BY(mutex_);
};

absl::string_view NameOf(int signal) { return signal == SIGINT ? "SIGINT" : "SIGTERM"; }

absl::Status Serve(const Flags& flags) {
  if (!SetLogLevel(flags.log_level)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--log-level: got '", flags.log_level, "', want debug, info, warning, error or off"));
  }
  // Before there are threads: they don't take signals either.
  auto signals = std::make_unique<SignalFd>(std::initializer_list<int>{SIGINT, SIGTERM});
  std::unique_ptr<ServeEtcdRevisions> revisions;
  if (flags.revision == "etcd") {
    int early = 0;
    auto opened = ServeEtcdRevisions::Open(flags.etcd, [&] { return (early = signals->Next()) != 0; });
    if (early != 0) {
      LogInfo(absl::StrCat("stopping at ", NameOf(early), " before there was anything to serve"));
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(revisions, std::move(opened));
  }
  ASSIGN_OR_RETURN(Node::Options options,
                   OptionsFrom(flags, revisions == nullptr ? flags.revision : revisions->current()));
  if (!options.cpus.empty()) {
    // Those of the models and listeners start later, and run there, too.
    if (absl::Status status = RunOnCpus(options.cpus); !status.ok()) {
      return WithContext(absl::StrCat("node '", options.name, "'"), status);
    }
    const auto cores = static_cast<int>(options.cpus.size());
    if (options.workers == 0) options.workers = cores;
    if (options.http.threads == 0) options.http.threads = std::clamp(cores / 4, 1, 16);
  }
  StatusFile file(flags, options.name);
  options.revisions.on_change = [&file](const RevisionState& state) { file.OnRevisions(state); };
  ASSIGN_OR_RETURN(const std::unique_ptr<Node> node, Node::Start(std::move(options)));
  ASSIGN_OR_RETURN(const NodeStatus status, file.Begin(*node));
  SayAddresses(status);

  // Nodes of a mesh start together: whoever waits for the status file wants to know when the portals have reached their
  // targets.
  int signal = 0;
  bool degraded = !status.degraded.empty();
  while (signal == 0 && degraded) {
    signal = signals->Wait(kPortalCheckPeriod);
    degraded = !DegradedPortals(*node).empty();
    if (!degraded) RETURN_IF_ERROR(file.Update());
  }
  std::vector<ArmCounts> told = status.traffic;
  while (signal == 0 && !flags.revision.empty()) {
    signal = signals->Wait(kTrafficPeriod);
    std::vector<ArmCounts> traffic = node->Traffic();
    if (signal != 0 || traffic == told) continue;
    told = std::move(traffic);
    RETURN_IF_ERROR(file.Update());
  }
  if (signal == 0) signal = signals->Wait();

  LogInfo(absl::StrCat("stopping at ", NameOf(signal), "; requests in hand finish"));
  // A second signal ends the process at once.
  signals.reset();
  RETURN_IF_ERROR(file.End());
  node->Stop();
  return absl::OkStatus();
}

}  // namespace

void AddServeCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("serve", "Serve models by this process, until SIGTERM or Ctrl-C");
  command->add_option("--model", flags->models, "A model and the folder of its versions; repeatable")
      ->type_name("NAME=BASE");
  command->add_option("--grpc", flags->grpc, "Address of the gRPC API; port 0: the system chooses")
      ->type_name("HOST:PORT");
  command->add_option("--http", flags->http, "Address of REST, metrics and health")->type_name("HOST:PORT");
  command->add_option("--peer", flags->peer, "Where other nodes' portals reach this one")->type_name("ENDPOINT");
  command->add_option("--remote", flags->remotes, "Who serves a portal's target; repeatable")
      ->type_name("TARGET=ENDPOINT[,ENDPOINT]");
  command->add_option("--workers", flags->workers, "Worker threads; 0: one per core")->check(CLI::NonNegativeNumber);
  command->add_option("--http-threads", flags->http_threads, "Threads that read and write HTTP; 0: one per four cores")
      ->check(CLI::Range(0, 256));
  command
      ->add_option("--revision", flags->revision,
                   "Serve what a mesh's revision says of --node; 'etcd': that below --etcd-prefix")
      ->type_name("FILE|etcd");
  command->add_option("--node", flags->node, "Name of this node")->type_name("NAME");
  command->add_option("--replica", flags->replica, "Which replica of --node this is")->check(CLI::NonNegativeNumber);
  command->add_option("--status-file", flags->status_file, "Written when ready: addresses and models, as JSON")
      ->type_name("FILE");
  command->add_option("--curve-key", flags->curve_key, "Own CURVE keys, public then secret, a line each")
      ->type_name("FILE");
  command->add_option("--curve-allow", flags->curve_allow, "Public keys of the nodes that may connect, a line each")
      ->type_name("FILE");
  command
      ->add_option("--curve-server-key", flags->curve_server_key, "Public key of the nodes it calls; default: its own")
      ->type_name("FILE");
  command->add_option("--log-level", flags->log_level, "debug, info, warning, error or off")->capture_default_str();
  for (const auto& group : flags->groups) group->AddTo(*command);
  flags->etcd.AddTo(*command);
  command->footer(
      "Without an address it serves gRPC on 127.0.0.1:8500 and REST on 127.0.0.1:8501.\n"
      "Example, one node by itself:\n"
      "  portico serve --model_name=digit --model_base_path=packages/digit --port=8500 --rest_api_port=8501\n"
      "Example, two nodes by hand:\n"
      "  portico serve --model hub/digit-encoder=packages/hub/digit-encoder --peer tcp://127.0.0.1:9000\n"
      "  portico serve --model digit=packages/digit --grpc 127.0.0.1:8500 --http 127.0.0.1:8501 \\\n"
      "      --remote hub/digit-encoder=tcp://127.0.0.1:9000\n"
      "Example, what was slow, and where the time went (docs/observability.md):\n"
      "  portico serve --model digit=packages/digit --log-format=json --trace-slow=20ms "
      "--otlp-endpoint=http://127.0.0.1:4318\n"
      "  curl -o traces.json 'localhost:8501/debug/traces?slow=1&format=chrome'   # opens at ui.perfetto.dev");
  command->callback([flags, &exit_code] { exit_code = ReportError("serve", Serve(*flags)); });
}

}  // namespace portico
