#include "node/revision_serving.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/package/package.h"
#include "router/revision_external.h"

namespace portico {
namespace {

// router/ and models/ know nothing of each other: both read the key.
static_assert(Revision::Model::kMaxResultCacheMib == kMaxResultCacheMib);

/// Adds the versions that `model` pins.
void AddPins(const Revision::Model& model, ModelConfig* config) {
  if (model.pins.empty()) return;
  std::vector<int64_t>& versions = config->versions.versions;
  config->versions.kind = VersionPolicy::Kind::kSpecific;
  for (const Revision::Pin& pin : model.pins) {
    if (!absl::c_linear_search(versions, pin.version)) versions.push_back(pin.version);
  }
}

ModelConfig ConfigOf(const Revision::Model& model) {
  ModelConfig config;
  config.name = model.name;
  config.base_path = model.path;
  config.versions = model.versions;
  config.labels = model.labels;
  config.resource_preserving = model.resource_preserving;
  config.on_demand = model.on_demand;
  config.result_cache_mib = model.result_cache_mib;
  config.shares = model.shares;
  config.providers = model.providers;
  if (!model.pins.empty()) config.versions.versions.clear();
  AddPins(model, &config);
  return config;
}

/// "m:serving_default: no replica" → "m:serving_default".
std::string TargetOf(const std::string& degraded) { return degraded.substr(0, degraded.find(": ")); }

bool Serves(const Revision& revision, const std::string& node, int replica, const std::string& model) {
  const Revision::Node* own = revision.FindNode(node, replica);
  return own != nullptr && absl::c_linear_search(own->serve, model);
}

/// Adds `peer` for the revisions of `span`, which widens those of one that is there.
void AddPeer(PeerAddress peer, RevisionSpan span, std::vector<PeerAddress>& peers) {
  const auto known = absl::c_find_if(peers, [&](const PeerAddress& one) { return one.url == peer.url; });
  if (known == peers.end()) {
    peer.revisions = span;
    peers.push_back(std::move(peer));
  } else {
    known->revisions = {std::min(known->revisions.first, span.first), std::max(known->revisions.last, span.last)};
  }
}

}  // namespace

std::vector<ModelConfig> ModelsOf(const std::vector<const Revision*>& live, const Revision& current,
                                  const std::string& node, int replica) {
  // Of each model the last revision that has it, in the order of their first.
  std::vector<std::pair<std::string, const Revision*>> last;
  for (const Revision* revision : live) {
    const Revision::Node* own = revision->FindNode(node, replica);
    if (own == nullptr) continue;
    for (const std::string& name : own->serve) {
      const auto have = absl::c_find_if(last, [&](const auto& entry) { return entry.first == name; });
      if (have == last.end()) {
        last.emplace_back(name, revision);
      } else {
        have->second = revision;
      }
    }
  }
  std::vector<ModelConfig> configs;
  for (const auto& [name, revision] : last) {
    const bool in_current = Serves(current, node, replica, name);
    const Revision::Model& newest = *revision->FindModel(name);
    if (newest.resource_preserving && in_current) {
      configs.push_back(ConfigOf(*current.FindModel(name)));
      continue;
    }
    ModelConfig config = ConfigOf(newest);
    for (const Revision* other : live) {
      if (Serves(*other, node, replica, name)) AddPins(*other->FindModel(name), &config);
    }
    // Requests have their labels from their revision; this is what status tells.
    if (in_current) config.labels = current.FindModel(name)->labels;
    configs.push_back(std::move(config));
  }
  return configs;
}

StaticResolver::Table PeersOf(const std::vector<const Revision*>& live, const std::string& node, int replica,
                              const std::string& self) {
  StaticResolver::Table table;
  const auto add = [&](const Revision& revision) {
    // Those of before the first and after the last that are known here go where those do.
    const RevisionSpan span{&revision == live.front() ? 0 : revision.number,
                            &revision == live.back() ? UINT64_MAX : revision.number};
    for (const Revision::Node& other : revision.nodes) {
      const bool is_self = other.name == node && other.replica == replica;
      // Without an endpoint it is found elsewhere: in etcd.
      if (other.peer.empty() && !is_self) continue;
      for (const std::string& served : other.serve) {
        AddPeer(PeerAddress(is_self ? self : other.peer, other.zone), span, table[served]);
      }
    }
    // Servers of another make have no revisions, but what is asked of them has: another version of theirs is another
    // endpoint here, and a request stays with the ones that its own revision names.
    for (const Revision::External& external : revision.externals) {
      for (std::string& endpoint : EndpointsOf(external)) {
        AddPeer(PeerAddress(std::move(endpoint)), span, table[external.name]);
      }
    }
  };
  for (const Revision* revision : live) add(*revision);
  return table;
}

absl::Status RevisionServing::Hold(const std::vector<const Revision*>& live, const Revision& current) {
  if (const uint64_t newest = live.back()->number; newest != newest_) {
    newest_ = newest;
    away_before_ = Away();
  }
  if (options_.on_current) options_.on_current(current);
  router_.tables().Set(live, current.number);
  resolver_.Update(PeersOf(live, options_.node, options_.replica, options_.self));
  RETURN_IF_ERROR(router_.SetPolicies(current.default_policy, current.policies));
  router_.ExpectPolicies(live.back()->default_policy, live.back()->policies);
  RETURN_IF_ERROR(servables_.Configure(ModelsOf(live, current, options_.node, options_.replica)));
  servables_.WhenSettled(Deadline(), [settled = settled_, number = ++applied_](const absl::Status&) {
    // Later ones may be told first.
    uint64_t before = settled->load();
    while (before < number && !settled->compare_exchange_weak(before, number)) {
    }
  });
  return absl::OkStatus();
}

std::set<std::string> RevisionServing::Away() const {
  std::set<std::string> away;
  for (const auto& servable : servables_.Available()) {
    for (const std::string& degraded : servable->Degraded()) away.insert(TargetOf(degraded));
  }
  return away;
}

bool RevisionServing::ReachesNodesOf(const Revision& revision) const {
  // By target: whether one of the revision's own nodes is there.
  std::map<std::string, bool> reached;
  for (const ReplicaStatus& replica : router_.Replicas()) {
    const Revision::Model* model = revision.FindModel(replica.target);
    if (model == nullptr || !replica.revisions.Has(revision.number)) continue;
    if (model->on_demand || model->resource_preserving) continue;
    // What only earlier versions were cut from is not waited for.
    const bool wanted = replica.digest.empty() || absl::c_any_of(model->pins, [&](const Revision::Pin& pin) {
                          return pin.digest.Short() == replica.digest;
                        });
    if (wanted) reached[absl::StrCat(replica.target, "#", replica.digest)] |= replica.standing == Standing::kHere;
  }
  return absl::c_all_of(reached, [&](const auto& target) {
    const std::string name = target.first.substr(0, target.first.find('#'));
    return target.second || absl::c_any_of(away_before_, [&](const std::string& away) {
             if (absl::StartsWith(away, name) && absl::StrContains(":#@", away.substr(name.size(), 1))) return true;
             // Portals of tables name the group, not its shards.
             return absl::c_any_of(revision.tables, [&](const Revision::Table& table) {
               return absl::StartsWith(away, absl::StrCat(table.name, ":")) &&
                      absl::StartsWith(name, absl::StrCat(table.name, "."));
             });
           });
  });
}

std::optional<absl::Status> RevisionServing::Prepared(const Revision& revision) {
  const Revision::Node* own = revision.FindNode(options_.node, options_.replica);
  if (own == nullptr) return absl::OkStatus();
  const bool settled = settled_->load() == applied_;
  const std::vector<std::shared_ptr<const Servable>> available = servables_.Available();
  for (const std::string& name : own->serve) {
    const Revision::Model& model = *revision.FindModel(name);
    if (model.on_demand || model.resource_preserving) continue;
    for (const Revision::Pin& pin : model.pins) {
      const auto servable = absl::c_find_if(
          available, [&](const auto& one) { return one->name() == name && one->version() == pin.version; });
      if (servable == available.end()) {
        if (!settled) return std::nullopt;
        const auto statuses = servables_.Status({.name = name, .version = pin.version});
        const absl::Status why = !statuses.ok() ? statuses.status() : statuses->front().status;
        return absl::FailedPreconditionError(
            absl::StrCat("model '", name, "' version ", pin.version, ": ",
                         why.ok() ? "got a folder without it, want it there" : std::string(why.message())));
      }
      if ((*servable)->digest() != pin.digest) {
        return absl::FailedPreconditionError(absl::StrCat(
            "model '", name, "' version ", pin.version, ": got digest ", (*servable)->digest().Short(), ", want ",
            pin.digest.Short(), "; a version that serves cannot change: give what is new a higher number"));
      }
      if (const absl::Status fits = (*servable)->AcceptsPolicies(revision); !fits.ok()) {
        return absl::FailedPreconditionError(
            absl::StrCat("model '", name, "' version ", pin.version, ": ", fits.message()));
      }
      // What was away before is no reason to keep what is new: it may well be what ends it.
      for (const std::string& degraded : (*servable)->Degraded()) {
        if (!away_before_.contains(TargetOf(degraded))) return std::nullopt;
      }
    }
  }
  if (!ReachesNodesOf(revision)) return std::nullopt;
  return absl::OkStatus();
}

}  // namespace portico
