#include "node/node.h"

#include <algorithm>
#include <future>
#include <optional>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/allocator.h"
#include "base/cpu_list.h"
#include "base/executor.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/thread_schedule.h"
#include "embedding/hot_pages.h"
#include "models/runtime/provider_check.h"
#include "node/frontend/admin.h"
#include "node/frontend/grpc_health.h"
#include "node/frontend/grpc_reflection.h"
#include "node/frontend/grpc_server.h"
#include "node/frontend/http_routes.h"
#include "node/frontend/http_server.h"
#include "node/frontend/hub_pages.h"
#include "node/frontend/module_catalog.h"
#include "node/frontend/peer_frontend.h"
#include "node/frontend/request_entry.h"
#include "node/frontend/tfs_grpc.h"
#include "node/frontend/tfs_rest.h"
#include "node/frontend/traffic_page.h"
#include "node/frontend/v2_grpc.h"
#include "node/frontend/v2_rest.h"
#include "node/observe/memory_account.h"
#include "node/observe/metrics.h"
#include "node/observe/table_report.h"
#include "node/observe/traces.h"
#include "node/revision_follower.h"
#include "node/revision_serving.h"
#include "node/servables/servables.h"
#include "node/served_list.h"
#include "node/shadows.h"
#include "router/dns_resolver.h"
#include "router/live_revisions.h"
#include "router/static_resolver.h"
#include "router/traffic_arms.h"

namespace portico {
namespace {

/// Where a node's own portals reach the node itself.
constexpr char kSelfEndpoint[] = "inproc://self";

/// Differs at every start.
uint64_t NewIncarnation() {
  std::random_device random;
  return uint64_t{random()} << 32 | random() | 1;
}

/// Everything of a node, in the order of the life of a request from the inside out: what is declared later may use what
/// is declared earlier, and goes first.
class NodeImpl final : public Node {
 public:
  explicit NodeImpl(Options options)
      : options_(std::move(options)),
        clock_(Clock::Real()),
        metrics_(PrometheusMetrics::Create()),
        workers_({.threads = options_.workers, .name = "worker"}),
        hot_pages_(options_.huge_page_bytes == 0
                       ? nullptr
                       : std::make_unique<HotPages>(HotPages::Options{.bytes = options_.huge_page_bytes})),
        shards_({.hot_pages = hot_pages_.get()}),
        transport_(NewTransports(options_.transports, clock_)),
        resolver_(options_.peers) {}

  ~NodeImpl() override { Stop(); }

  absl::Status Start() {
    RETURN_IF_ERROR(CheckProviders());
    RETURN_IF_ERROR(Assemble());
    RETURN_IF_ERROR(Bind());
    RETURN_IF_ERROR(LoadModels());
    return membership_ == nullptr ? absl::OkStatus() : membership_->Join(peer_endpoint_);
  }

  const std::string& grpc_address() const override { return grpc_ == nullptr ? none_ : grpc_->address(); }
  const std::string& http_address() const override { return http_ == nullptr ? none_ : http_->address(); }
  const std::string& peer_endpoint() const override { return peer_endpoint_; }
  absl::Status Ready() const override {
    if (inference_->draining())
      return absl::UnavailableError(absl::StrCat("node '", options_.name, "': shutting down"));
    return servables_->Ready();
  }
  Inference& inference() override { return *inference_; }
  std::vector<ArmCounts> Traffic() const override { return arms_.Read(); }

  void Stop() override {
    if (stopped_ || inference_ == nullptr) return;
    stopped_ = true;
    model_config_poller_.Stop();
    revision_follower_.reset();
    tenants_file_.Stop();
    tls_files_.Stop();
    servables_->Stop();
    // Callers leave before they are sent away.
    if (membership_ != nullptr) membership_->Leave();
    for (const auto& listener : listeners_) listener->GoAway();
    if (!inference_->Drain(options_.drain_timeout)) {
      LogWarning(absl::StrCat("node '", options_.name, "': ", inference_->in_flight(), " requests still inside after ",
                              absl::FormatDuration(options_.drain_timeout), "; stopping anyway"));
    }
    // Answers that are on their way out get a moment; nothing new comes in.
    if (grpc_ != nullptr) grpc_->Stop(absl::Seconds(2));
    if (http_ != nullptr) http_->Stop(absl::Seconds(2));
    http_parsers_.Stop();
    page_makers_.Stop();
    listeners_.clear();
    shadows_->Stop();
    // What workers still have to do may go on to another portal: the router refuses its calls, and goes once they are
    // through.
    router_->Stop();
    workers_.Stop();
    if (otlp_ != nullptr) otlp_->Stop();
    if (request_log_ != nullptr) request_log_->Stop();
    router_.reset();
  }

 private:
  /// Before anything serves: that what models are to run by is there.
  absl::Status CheckProviders() const {
    std::vector<ExecutionProvider> started;
    const auto check = [&](const std::vector<ExecutionProvider>& providers, absl::string_view of) {
      absl::Status status = CheckProviderList(providers);
      for (const ExecutionProvider& provider : providers) {
        if (!status.ok()) break;
        if (std::find(started.begin(), started.end(), provider) != started.end()) continue;
        status = CheckProvidersStart({provider});
        started.push_back(provider);
      }
      return status.ok() ? status : WithContext(absl::StrCat("node '", options_.name, "'", of), status);
    };
    RETURN_IF_ERROR(check(options_.providers, ""));
    for (const ModelConfig& model : options_.models) {
      if (model.providers) RETURN_IF_ERROR(check(*model.providers, absl::StrCat(", model '", model.name, "'")));
    }
    return absl::OkStatus();
  }

  /// What HELLO says of this node now.
  PeerState Self() const {
    PeerState self;
    self.connected = true;
    self.node = options_.name;
    self.incarnation = incarnation_;
    if (servables_ != nullptr) SayServed(*servables_, &self);
    return self;
  }

  /// Whether a client's key says anything here.
  bool ReadsKey() const {
    const auto by_key = [](const RoutePolicy& policy) { return policy.balance == "consistent_hash"; };
    return !options_.revisions.pointer.empty() || by_key(options_.default_policy) ||
           std::any_of(options_.policies.begin(), options_.policies.end(),
                       [&](const auto& policy) { return by_key(policy.second); });
  }

  absl::Status Assemble() {
    if (!options_.otlp.endpoint.empty()) {
      ASSIGN_OR_RETURN(otlp_, OtlpExporter::Create(options_.otlp, *metrics_));
    }
    traces_.emplace(options_.traces, *metrics_, otlp_.get());
    if (!options_.etcd.etcd.endpoints.empty()) {
      EtcdMembership::Options membership = options_.etcd;
      membership.zone = options_.zone;
      ASSIGN_OR_RETURN(membership_, EtcdMembership::Create(std::move(membership), kSelfEndpoint, resolver_, *metrics_));
    }
    names_.emplace(membership_ == nullptr ? resolver_ : membership_->resolver(), DnsResolver::Options());
    Router::Options router;
    router.self = Self();
    router.security = options_.call_security;
    router.zone = options_.zone;
    router.dead_after = options_.peer_dead_after;
    router.default_policy = options_.default_policy;
    router.policies = options_.policies;
    router.workers = &workers_;
    ASSIGN_OR_RETURN(router_, Router::Create(std::move(router), *transport_, *names_, clock_, *metrics_));
    if (options_.revisions.pointer.empty() && !options_.tables.empty()) {
      Revision of_tables;
      of_tables.number = 1;
      of_tables.tables = options_.tables;
      router_->tables().Set({&of_tables}, of_tables.number);
    }
    metrics_->AddSource([this] { return ReplicaMetricsText(router_->Replicas()); });
    if (!options_.request_log.files.folder.empty()) {
      ASSIGN_OR_RETURN(request_log_, RequestLog::Create(options_.request_log, clock_, *metrics_));
    }
    Servables::Options servables = options_.servables;
    servables.on_configure = [this](const std::vector<ModelConfig>& models) {
      UseShares(models);
      if (modules_ != nullptr) modules_->SetModels(models);
    };
    servables.on_change = [this] { Announce(); };
    if (!options_.revisions.pointer.empty()) servables.revisions = &revisions_;
    servables_ = std::make_unique<Servables>(
        std::move(servables),
        Servable::Dependencies{workers_, workers_.size(), *router_, clock_, *metrics_, shards_, options_.providers});
    metrics_->AddSource([this] { return TableMetricsText(ReportShards(servables_->Available())); });
    modules_ = std::make_unique<ModuleCatalog>(*servables_);
    hub_pages_ = std::make_unique<HubPages>(
        HubPages::Options{options_.http.tls.enabled() ? "https" : "http", &page_makers_}, *modules_);
    shadows_ = std::make_unique<Shadows>(*router_, clock_);
    Inference::Options inference = options_.inference;
    inference.shadows = shadows_.get();
    inference.node_name = options_.name;
    inference.request_log = request_log_.get();
    inference_ = std::make_unique<Inference>(std::move(inference), *servables_, clock_, *metrics_);
    if (!options_.tenants.path.empty()) {
      RETURN_IF_ERROR(tenants_file_.Poll());
      tenants_file_.Start();
    }
    const LiveRevisions* revisions = options_.revisions.pointer.empty() ? nullptr : &revisions_;
    peer_frontend_ = std::make_unique<PeerFrontend>(*inference_, traces_->span_floor(), revisions);
    entrance_.emplace(Entrance{*inference_, *traces_, access_, revisions, ReadsKey()});
    TfsRestFrontend::Options rest;
    rest.timeout = options_.rest_timeout;
    rest.max_tensor_bytes = options_.http.max_body_bytes;
    tfs_rest_ = std::make_unique<TfsRestFrontend>(rest, *entrance_);
    TfsGrpcFrontend::Options tfs;
    tfs.max_tensor_bytes = static_cast<uint64_t>(options_.grpc.max_message_bytes);
    tfs_grpc_ = TfsGrpcFrontend::Create(tfs, *entrance_);
    V2GrpcFrontend::Options v2;
    v2.max_tensor_bytes = tfs.max_tensor_bytes;
    v2_grpc_ = V2GrpcFrontend::Create(v2, *entrance_, [this] { return Ready(); });
    V2RestFrontend::Options v2_rest;
    v2_rest.max_tensor_bytes = tfs.max_tensor_bytes;
    v2_rest.timeout = options_.rest_timeout;
    v2_rest_ = std::make_unique<V2RestFrontend>(v2_rest, *entrance_, [this] { return Ready(); });
    reflection_ = GrpcReflection::Create(access_);
    health_ = GrpcHealth::Create({}, *inference_, [this] { return Ready(); });
    memory_ = std::make_unique<MemoryAccount>(*servables_, *inference_, request_log_.get(), *metrics_);
    admin_ = std::make_unique<Admin>([this] { return Ready(); }, *servables_, *metrics_, *traces_, *memory_,
                                     [this] { return TrafficJson(arms_, *shadows_); });
    return absl::OkStatus();
  }

  absl::Status Bind() {
    RETURN_IF_ERROR(Listen(kSelfEndpoint));
    if (!options_.peer.empty()) {
      RETURN_IF_ERROR(Listen(options_.peer));
      peer_endpoint_ = listeners_.back()->endpoint();
    }
    if (!options_.http.address.empty()) {
      HttpServer::Options http = options_.http;
      http.executor = &http_parsers_;
      http.admit = HttpDoor(access_);
      ASSIGN_OR_RETURN(http_, HttpServer::Start(std::move(http), HttpRoutes({options_.metrics_path}, *admin_,
                                                                            *hub_pages_, *tfs_rest_, *v2_rest_)));
    }
    if (!options_.grpc.address.empty() || !options_.grpc.socket_path.empty()) {
      std::vector<grpc::Service*> services = tfs_grpc_->services();
      for (grpc::Service* service : v2_grpc_->services()) services.push_back(service);
      for (grpc::Service* service : health_->services()) services.push_back(service);
      for (grpc::Service* service : reflection_->services()) services.push_back(service);
      ASSIGN_OR_RETURN(grpc_, GrpcServer::Start(options_.grpc, std::move(services)));
    }
    RETURN_IF_ERROR(tls_files_.Poll());
    tls_files_.Start();
    return absl::OkStatus();
  }

  absl::Status Listen(const std::string& endpoint) {
    ListenOptions listen;
    listen.security = options_.listen_security;
    listen.self = Self();
    ASSIGN_OR_RETURN(std::unique_ptr<Listener> listener,
                     transport_->Listen(endpoint, *peer_frontend_, std::move(listen)));
    listeners_.push_back(std::move(listener));
    return absl::OkStatus();
  }

  /// Blocks until every model is available or has failed.
  absl::Status LoadModels() {
    if (!options_.revisions.pointer.empty()) {
      revision_serving_ = std::make_unique<RevisionServing>(
          RevisionServing::Options{options_.revisions.node, options_.revisions.replica, kSelfEndpoint,
                                   [this](const Revision& current) { modules_->SetRevision(current); }},
          *servables_, resolver_, *router_);
      RevisionFollower::Options follow = options_.revisions;
      if (membership_ != nullptr) {
        follow.on_change = [this](const RevisionState& state) {
          if (options_.revisions.on_change) options_.revisions.on_change(state);
          membership_->SayRevisions(state);
        };
      }
      revision_follower_ =
          std::make_unique<RevisionFollower>(std::move(follow), revisions_, *revision_serving_, clock_);
      RETURN_IF_ERROR(revision_follower_->Begin());
    } else if (options_.model_config_file.path.empty()) {
      RETURN_IF_ERROR(servables_->Configure(options_.models));
    } else {
      RETURN_IF_ERROR(model_config_poller_.Poll());
      model_config_poller_.Start();
    }
    std::promise<void> settled;
    // What failed was logged, and is told by status and readiness.
    servables_->WhenSettled(Deadline(), [&settled](const absl::Status&) { settled.set_value(); });
    settled.get_future().wait();
    if (revision_follower_ != nullptr) revision_follower_->Start();
    return absl::OkStatus();
  }

  /// Models may say which share of their requests is recorded.
  void UseShares(const std::vector<ModelConfig>& models) {
    std::map<std::string, double, std::less<>> shares;
    for (const ModelConfig& model : models) {
      if (model.request_log_sample.has_value()) shares[model.name] = *model.request_log_sample;
    }
    if (request_log_ != nullptr) {
      request_log_->SetShares(std::move(shares));
    } else if (!shares.empty()) {
      LogWarning(absl::StrCat("model '", shares.begin()->first,
                              "': logging_config has no effect, since the node has no request log (--request-log)"));
    }
  }

  void UseTenants(const TenantTable& table) {
    std::map<std::string, TenantLimits> limits;
    for (const Tenant& tenant : table.tenants) limits[tenant.name] = tenant.limits;
    inference_->quotas().SetLimits(limits);
    access_.SetTenants(table);
  }

  absl::Status UseKeys(const std::vector<std::string>& texts) {
    ASSIGN_OR_RETURN(const ServerTls tls, options_.tls_files.read(texts));
    if (http_ != nullptr && options_.http.tls.enabled()) RETURN_IF_ERROR(http_->SetTls(tls));
    if (grpc_ != nullptr && options_.grpc.tls.enabled()) RETURN_IF_ERROR(grpc_->SetTls(tls));
    return absl::OkStatus();
  }

  /// Tells peers what is available now. Calls are one at a time, so that the last one tells the truth.
  void Announce() {
    const PeerState self = Self();
    if (membership_ != nullptr) membership_->SayServed(self.served);
    for (const auto& listener : listeners_) listener->Announce(self);
  }

  const Options options_;
  const std::string none_;
  const uint64_t incarnation_ = NewIncarnation();
  const Clock& clock_;
  const std::unique_ptr<PrometheusMetrics> metrics_;
  std::unique_ptr<OtlpExporter> otlp_;
  std::optional<Traces> traces_;
  ThreadPool workers_;
  const std::unique_ptr<HotPages> hot_pages_;
  ShardStore shards_;
  const std::unique_ptr<Transport> transport_;
  StaticResolver resolver_;
  std::unique_ptr<EtcdMembership> membership_;
  std::optional<const DnsResolver> names_;
  TrafficArms arms_{*metrics_};
  LiveRevisions revisions_{0, &arms_};
  std::unique_ptr<Shadows> shadows_;
  std::unique_ptr<Router> router_;
  std::unique_ptr<RequestLog> request_log_;
  std::unique_ptr<Servables> servables_;
  ModelConfigPoller model_config_poller_{options_.model_config_file, [this](std::vector<ModelConfig> models) {
                                           return servables_->Configure(std::move(models));
                                         }};
  std::unique_ptr<RevisionServing> revision_serving_;
  std::unique_ptr<RevisionFollower> revision_follower_;
  std::unique_ptr<Inference> inference_;
  Access access_;
  TenantsFile tenants_file_{options_.tenants, [this](const TenantTable& table) { UseTenants(table); }};
  std::unique_ptr<PeerFrontend> peer_frontend_;
  std::optional<Entrance> entrance_;
  std::unique_ptr<TfsRestFrontend> tfs_rest_;
  std::unique_ptr<TfsGrpcFrontend> tfs_grpc_;
  std::unique_ptr<V2GrpcFrontend> v2_grpc_;
  std::unique_ptr<V2RestFrontend> v2_rest_;
  std::unique_ptr<GrpcHealth> health_;
  std::unique_ptr<GrpcReflection> reflection_;
  std::unique_ptr<MemoryAccount> memory_;
  std::unique_ptr<Admin> admin_;
  std::unique_ptr<ModuleCatalog> modules_;
  std::unique_ptr<HubPages> hub_pages_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::string peer_endpoint_;
  /// Unpacks and parses large HTTP bodies, so that neither the I/O thread nor a worker does.
  ThreadPool http_parsers_{{.threads = 1, .name = "http-parse"}};
  /// Makes pages that read files, one after the other: no request that is served waits for them.
  ThreadPool page_makers_{{.threads = 1, .name = "hub-pages", .nice = 10}};
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<GrpcServer> grpc_;
  FileFollower tls_files_{options_.tls_files.files,
                          [this](const std::vector<std::string>& texts) { return UseKeys(texts); }};
  bool stopped_ = false;
};

}  // namespace

absl::StatusOr<Node::Options> Node::OptionsFor(const Revision& revision, const std::string& node, int replica) {
  const Revision::Node* own = revision.FindNode(node, replica);
  if (own == nullptr) {
    std::string known;
    for (const Revision::Node& other : revision.nodes) absl::StrAppend(&known, known.empty() ? "" : ", ", other.id());
    return absl::NotFoundError(
        absl::StrCat("node '", node, "/", replica, "': not in mesh '", revision.mesh, "', which has ", known));
  }
  Options options;
  options.name = own->id();
  options.grpc.address = own->grpc;
  options.http.address = own->http;
  options.peer = own->peer;
  options.workers = own->workers;
  options.http.threads = own->http_threads;
  options.huge_page_bytes = static_cast<uint64_t>(own->huge_pages_mib) << 20;
  options.providers = own->providers;
  if (!own->cpus.empty()) {
    ASSIGN_OR_RETURN(options.cpus, ParseCpuList(own->cpus));
  }
  options.keys = own->keys;
  options.zone = own->zone;
  options.default_policy = revision.default_policy;
  options.policies = revision.policies;
  for (const std::string& served : own->serve) {
    if (revision.FindModel(served) != nullptr) continue;
    return absl::InvalidArgumentError(absl::StrCat("node '", own->id(), "': serves '", served,
                                                   "', which is not among the models of mesh '", revision.mesh, "'"));
  }
  options.tables = revision.tables;
  options.models = ModelsOf({&revision}, revision, node, replica);
  for (const auto& [target, endpoints] : PeersOf({&revision}, node, replica, kSelfEndpoint)) {
    for (const PeerAddress& endpoint : endpoints) options.peers[target].push_back(endpoint.url);
  }
  return options;
}

absl::StatusOr<std::unique_ptr<Node>> Node::Start(Options options) {
  TuneAllocator();
  AskForShortSlices();
#ifdef NDEBUG
  // Debian's abseil looks for cycles of locks at every lock that gRPC takes: a twentieth of a small call's time.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
#endif
  auto node = std::make_unique<NodeImpl>(std::move(options));
  RETURN_IF_ERROR(node->Start());
  return node;
}

}  // namespace portico
