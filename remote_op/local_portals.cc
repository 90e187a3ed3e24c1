#include "remote_op/local_portals.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/request_context.h"
#include "base/status_macros.h"
#include "embedding/group_shards.h"
#include "embedding/lookup_call.h"
#include "embedding/shard_lookup.h"
#include "embedding/shard_map.h"
#include "embedding/table_group.h"
#include "models/graph/portal_spec.h"
#include "models/package/shard_package.h"
#include "remote_op/portal.h"
#include "router/router.h"
#include "router/static_resolver.h"
#include "transport/transport.h"

namespace portico {
namespace {

/// Where calls of one portal end: every target of it.
class LocalTargets {
 public:
  virtual ~LocalTargets() = default;
  /// `done` runs inside.
  virtual void Answer(const PeerHeader& call, std::vector<Tensor> inputs, OpDone done) = 0;
  /// What the answers' tensors are called.
  virtual absl::string_view OutputName(size_t output) const = 0;
};

/// Calls end where they begin: inside Call().
class LocalChannel final : public Channel {
 public:
  /// `failed`: of the first call that fails.
  LocalChannel(LocalTargets& targets, absl::Status& failed) : targets_(targets), failed_(failed) {}

  uint64_t Call(const PeerHeader& header, absl::Span<const Tensor> tensors, Deadline, Done done) override {
    targets_.Answer(header, {tensors.begin(), tensors.end()},
                    [this, done = std::move(done)](absl::StatusOr<std::vector<Tensor>> outputs) mutable {
                      failed_.Update(outputs.status());
                      if (!outputs.ok()) return done(outputs.status());
                      PeerMessage reply;
                      reply.header.kind = PeerHeader::Kind::kReply;
                      reply.tensors = *std::move(outputs);
                      for (size_t i = 0; i < reply.tensors.size(); ++i) {
                        reply.header.tensors.emplace_back().name = targets_.OutputName(i);
                      }
                      done(std::move(reply));
                    });
    return calls_++;
  }
  /// All are complete.
  void Cancel(uint64_t) override {}

 private:
  LocalTargets& targets_;
  absl::Status& failed_;
  uint64_t calls_ = 0;
};

class LocalTransport final : public Transport {
 public:
  explicit LocalTransport(LocalTargets& targets) : targets_(targets) {}

  absl::StatusOr<std::unique_ptr<Channel>> Connect(const std::string&, ChannelOptions) override {
    return std::make_unique<LocalChannel>(targets_, failed_);
  }
  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& endpoint, CallHandler&, ListenOptions) override {
    return absl::UnimplementedError(absl::StrCat("endpoint '", endpoint, "': nobody listens in one process"));
  }
  /// What the first call since the last time failed with.
  absl::Status TakeFailure() { return std::exchange(failed_, absl::OkStatus()); }

 private:
  LocalTargets& targets_;
  absl::Status failed_;
};

/// Models that a portal calls.
class LocalModels final : public LocalTargets {
 public:
  LocalModels(const PortalSpec& spec, std::vector<std::unique_ptr<AsyncOp>> models) : outputs_(spec.outputs) {
    const std::vector<PortalTarget> targets = PortalTargets(spec);
    PORTICO_CHECK(targets.size() == models.size());
    for (size_t i = 0; i < targets.size(); ++i) models_[Key(targets[i].name, targets[i].digest)] = std::move(models[i]);
  }

  void Answer(const PeerHeader& call, std::vector<Tensor> inputs, OpDone done) override {
    Digest digest;
    if (!call.digest.empty()) digest = *Digest::FromBytes(call.digest);
    auto context = MakeRef<RequestContext>();
    context->hop = static_cast<int32_t>(call.hop);
    models_.at(Key(call.servable, digest))->Run(context, std::move(inputs), std::move(done));
  }
  absl::string_view OutputName(size_t output) const override {
    return output < outputs_.size() ? absl::string_view(outputs_[output].name) : "";
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& [key, model] : models_) names.push_back(key.first);
    return names;
  }

 private:
  static std::pair<std::string, std::string> Key(absl::string_view name, const Digest& digest) {
    return {std::string(name), digest.Hex()};
  }

  const std::vector<TensorSpec> outputs_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<AsyncOp>> models_;
};

/// The shards of one group, the version that serves.
class LocalShards final : public LocalTargets {
 public:
  static absl::StatusOr<std::shared_ptr<LocalShards>> Open(const std::string& group, const std::string& folder,
                                                           ShardStore& store) {
    auto tables = std::make_shared<LocalShards>();
    ASSIGN_OR_RETURN(const uint32_t shards, ServingShards(folder));
    ASSIGN_OR_RETURN(const std::vector<int64_t> versions, WholeVersions(folder, shards));
    if (versions.empty()) {
      return absl::FailedPreconditionError(absl::StrCat("tables '", group, "': got no version in '", folder,
                                                        "' that all ", shards, " shards have, want one"));
    }
    tables->revision_.number = 1;
    tables->revision_.tables.push_back({group, folder, shards});
    for (uint32_t shard = 0; shard < shards; ++shard) {
      ASSIGN_OR_RETURN(tables->shards_[ShardName(group, shard, shards)],
                       OpenShardVersion(VersionFolderOf(folder, shard, shards, versions.back()), store));
    }
    return tables;
  }

  void Answer(const PeerHeader& call, std::vector<Tensor> inputs, OpDone done) override {
    absl::StatusOr<ShardLookup> lookup = ShardLookup::Read(*shards_.at(std::string(call.servable)), std::move(inputs));
    if (!lookup.ok()) return done(lookup.status());
    done(lookup->Run());
  }
  absl::string_view OutputName(size_t output) const override {
    return output < LookupCall::kOutputs ? LookupCall::kOutputNames[output] : "";
  }
  const Revision& revision() const { return revision_; }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& [name, shard] : shards_) names.push_back(name);
    return names;
  }

 private:
  Revision revision_;
  std::map<std::string, std::shared_ptr<const ShardVersion>> shards_;
};

/// `spec` without what depends on the time.
PortalSpec Timeless(PortalSpec spec) {
  if (spec.cascade.has_value()) spec.cascade->watch = CascadeWatch();
  if (spec.experts.has_value()) {
    spec.experts->watch = ExpertsWatch();
    spec.experts->k_min = spec.experts->k;
  }
  return spec;
}

/// One portal with a router of its own.
class LocalPortal final : public AsyncOp {
 public:
  LocalPortal(std::shared_ptr<LocalTargets> targets, const std::vector<std::string>& names)
      : targets_(std::move(targets)), transport_(*targets_), resolver_(EndpointsOf(names)) {}

  absl::Status Begin(const PortalSpec& spec, const Revision* tables) {
    // What a Cascade would shed by is its last input.
    drops_last_ = spec.cascade.has_value() && spec.cascade->watch.browns_out();
    Router::Options options;
    options.default_policy.timeout = absl::Hours(24 * 365);
    options.default_policy.retries = 0;
    options.default_policy.eject_after = 0;
    options.default_policy.eject_error_percent = 0;
    options.default_policy.eject_slower = 0;
    ASSIGN_OR_RETURN(router_,
                     Router::Create(std::move(options), transport_, resolver_, Clock::Real(), MetricRegistry::Null()));
    if (tables != nullptr) router_->tables().Set({tables}, tables->number);
    ASSIGN_OR_RETURN(portal_, NewPortal(Timeless(spec), *router_));
    return absl::OkStatus();
  }

  void Run(const Ref<const RequestContext>& context, std::vector<Tensor> inputs, OpDone done) override {
    if (drops_last_ && !inputs.empty()) inputs.pop_back();
    portal_->Run(context, std::move(inputs),
                 [this, done = std::move(done)](absl::StatusOr<std::vector<Tensor>> outputs) mutable {
                   // What the portal has in place of an answer would be the same in all that is compared.
                   const absl::Status failed = transport_.TakeFailure();
                   if (outputs.ok() && !failed.ok()) return done(failed);
                   done(std::move(outputs));
                 });
  }

 private:
  static std::map<std::string, std::vector<std::string>> EndpointsOf(const std::vector<std::string>& names) {
    std::map<std::string, std::vector<std::string>> endpoints;
    for (const std::string& name : names) endpoints[name] = {"local://targets"};
    return endpoints;
  }

  const std::shared_ptr<LocalTargets> targets_;
  LocalTransport transport_;
  const StaticResolver resolver_;
  std::unique_ptr<Router> router_;
  std::unique_ptr<Portal> portal_;
  bool drops_last_ = false;
};

class LocalPortals final : public PortalOps {
 public:
  absl::StatusOr<std::unique_ptr<AsyncOp>> Make(const PortalSpec& spec, Targets called) override {
    if (spec.embedding.has_value()) {
      std::shared_ptr<LocalShards>& group = groups_[called.tables];
      if (group == nullptr) {
        ASSIGN_OR_RETURN(group, LocalShards::Open(spec.target, called.tables, store_));
      }
      return Begun(spec, group, group->Names(), &group->revision());
    }
    auto models = std::make_shared<LocalModels>(spec, std::move(called.models));
    const std::vector<std::string> names = models->Names();
    return Begun(spec, std::move(models), names, nullptr);
  }

 private:
  static absl::StatusOr<std::unique_ptr<AsyncOp>> Begun(const PortalSpec& spec, std::shared_ptr<LocalTargets> targets,
                                                        const std::vector<std::string>& names, const Revision* tables) {
    auto portal = std::make_unique<LocalPortal>(std::move(targets), names);
    RETURN_IF_ERROR(portal->Begin(spec, tables));
    return portal;
  }

  ShardStore store_;
  /// By folder.
  std::map<std::string, std::shared_ptr<LocalShards>> groups_;
};

}  // namespace

std::unique_ptr<PortalOps> NewLocalPortals() { return std::make_unique<LocalPortals>(); }

}  // namespace portico
