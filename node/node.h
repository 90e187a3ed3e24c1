#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "node/etcd_membership.h"
#include "node/frontend/grpc_server.h"
#include "node/frontend/http_server.h"
#include "node/frontend/tenants_file.h"
#include "node/frontend/tls_files.h"
#include "node/inference.h"
#include "node/observe/otlp_exporter.h"
#include "node/observe/request_log.h"
#include "node/observe/traces.h"
#include "node/revision_follower.h"
#include "node/servables/model_config.h"
#include "node/servables/model_config_poller.h"
#include "router/revision.h"
#include "router/traffic_arms.h"
#include "transport/transport.h"

namespace portico {

/// A serving process: the composition root. Everything a node is made of is assembled in node.cc, in the order of the
/// life of a request.
class Node {
 public:
  struct Options {
    /// Said in spans, logs and HELLO.
    std::string name = "node";
    /// Where it stands, for `balance: locality`; empty: not known.
    std::string zone;
    std::vector<ModelConfig> models;
    /// A file that says which models, in place of `models`, and is followed; without a path there is none.
    ModelConfigPoller::Options model_config_file;
    /// How they are watched, loaded and unloaded. (on_change is the node's own.)
    Servables::Options servables;
    /// The gRPC listener; without address and socket path there is none.
    GrpcServer::Options grpc = {.address = ""};
    /// The HTTP listener; without address there is none.
    HttpServer::Options http = {.address = ""};
    /// Of REST requests; 0: no limit.
    absl::Duration rest_timeout = absl::Seconds(30);
    /// Where metrics are served besides /metrics; empty: nowhere.
    std::string metrics_path;
    /// Who may send requests; without a file: everybody. It is followed.
    TenantsFile::Options tenants;
    /// Where the keys of `grpc` and `http` are read again.
    TlsFiles tls_files;
    /// Peer endpoint, tcp://…; empty: none.
    std::string peer;
    /// Worker threads; 0: one per core.
    int workers = 0;
    /// Cores that whoever starts the node has its threads run on (base/cpu_list.h); empty: all.
    std::vector<int> cpus;
    /// What models run by that do not say (ModelConfig::providers); empty: cpu. Start() fails where one does not start.
    std::vector<ExecutionProvider> providers;
    /// Memory of huge pages for the hottest rows of tables (HotPages); 0: none.
    uint64_t huge_page_bytes = 0;
    /// Who serves what elsewhere: target → peer endpoints.
    std::map<std::string, std::vector<std::string>> peers;
    /// Groups of tables that portals look up in.
    std::vector<Revision::Table> tables;
    RoutePolicy default_policy;
    std::map<std::string, RoutePolicy> policies;
    TransportsOptions transports;
    /// How long a peer that has calls of ours in hand may be silent (ChannelOptions::dead_after).
    absl::Duration peer_dead_after = ChannelOptions().dead_after;
    /// Which revisions of a mesh it follows, in place of `models`, `peers` and `tables`; without a pointer: none.
    RevisionFollower::Options revisions;
    /// Where it finds other nodes, and they find it; without etcd: by `peers` and revisions alone.
    EtcdMembership::Options etcd;
    /// Files that a mesh's revision names; who starts the node reads them into what follows and into `grpc`, `http` and
    /// `tenants`.
    NodeKeys keys;
    /// Keys of the peer protocol; empty: plain, loopback and Unix sockets only.
    TransportSecurity listen_security;
    TransportSecurity call_security;
    /// Requests and answers put on record; without a folder: none.
    RequestLog::Options request_log;
    Inference::Options inference;
    /// Which requests are traced, and kept for /debug/traces.
    Traces::Options traces;
    /// Where kept traces go besides; without an endpoint: nowhere.
    OtlpExporter::Options otlp;
    /// How long Stop() waits for requests in hand.
    absl::Duration drain_timeout = absl::Seconds(30);
  };

  /// What `revision` says of one node.
  static absl::StatusOr<Options> OptionsFor(const Revision& revision, const std::string& node, int replica);

  /// Binds the listeners, then loads the models. Returns when every model is loaded or has failed; a model that fails
  /// to load is logged and reported by status and readiness, the others serve. An error means that nothing serves (an
  /// address taken, …). The calling thread asks for short slices, and with it all threads that serve.
  static absl::StatusOr<std::unique_ptr<Node>> Start(Options options);
  /// Stops.
  virtual ~Node() = default;

  /// As bound; empty where there is no such listener.
  virtual const std::string& grpc_address() const = 0;
  virtual const std::string& http_address() const = 0;
  virtual const std::string& peer_endpoint() const = 0;
  /// OK when every model is available; else which is not, and why.
  virtual absl::Status Ready() const = 0;
  virtual Inference& inference() = 0;
  /// What the arms of split traffic have done here.
  virtual std::vector<ArmCounts> Traffic() const = 0;
  /// Drains: not ready, no new requests, those in hand finish (at most drain_timeout), listeners close.
  virtual void Stop() = 0;
};

}  // namespace portico
