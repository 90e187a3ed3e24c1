#include "router/etcd_resolver.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "router/registered_node.h"

namespace portico {
namespace {

/// Targets whose last nodes are kept.
constexpr size_t kMaxKept = 1024;

bool OfOneHost(absl::string_view endpoint) {
  return absl::c_any_of(std::vector<absl::string_view>{"unix://", "shm://", "zmq+ipc://"},
                        [&](absl::string_view scheme) { return absl::StartsWith(endpoint, scheme); });
}

EtcdMirror::Options MirrorOf(const std::string& nodes, std::function<void(const EtcdMirror::Entries&)> on_change) {
  EtcdMirror::Options options;
  options.prefix = nodes;
  options.on_change = std::move(on_change);
  return options;
}

}  // namespace

EtcdResolver::EtcdResolver(Options options, const Resolver& inner, EtcdClient& client, MetricRegistry& metrics)
    : options_(std::move(options)),
      inner_(inner),
      metrics_(metrics),
      nodes_metric_(metrics_.NewGauge("portico_etcd_nodes", "Nodes that are registered in etcd", {})),
      kept_metric_(metrics_.NewGauge("portico_etcd_kept_targets",
                                     "Targets whose last nodes are called on though they are not registered any more",
                                     {})),
      inner_watch_(inner.WatchChanges([this] { watches_.TellAll(); })),
      mirror_(MirrorOf(options_.nodes, [this](const EtcdMirror::Entries& entries) { Update(entries); }), client,
              metrics) {}

std::vector<PeerAddress> EtcdResolver::Resolve(absl::string_view servable) const {
  std::vector<PeerAddress> peers = inner_.Resolve(servable);
  MutexLock lock(&mutex_);
  const auto found = table_.find(servable);
  if (found == table_.end()) return peers;
  for (const PeerAddress& peer : found->second) {
    if (absl::c_none_of(peers, [&](const PeerAddress& one) { return one.url == peer.url; })) peers.push_back(peer);
  }
  return peers;
}

std::unique_ptr<Resolver::Watch> EtcdResolver::WatchChanges(std::function<void()> changed) const {
  return watches_.Add(std::move(changed));
}

void EtcdResolver::AddNode(const std::string& key, const std::string& value, std::set<std::string>* bad, Table* table) {
  const absl::StatusOr<RegisteredNode> node = ParseRegisteredNode(value);
  if (!node.ok()) {
    bad->insert(key);
    if (!bad_.contains(key)) LogWarning(absl::StrCat("key '", options_.nodes, key, "': ", node.status().message()));
    return;
  }
  std::string url;
  if (key == options_.own) {
    url = options_.self;
  } else {
    const auto usable = absl::c_find_if(node->endpoints, [&](const std::string& endpoint) {
      return !OfOneHost(endpoint) || node->host == options_.host;
    });
    if (usable != node->endpoints.end()) url = *usable;
  }
  if (url.empty()) return;
  for (const RegisteredNode::Model& model : node->models) {
    std::vector<PeerAddress>& peers = (*table)[model.name];
    // Of a model there may be several versions.
    if (peers.empty() || peers.back().url != url) peers.emplace_back(url, node->zone);
  }
}

void EtcdResolver::KeepLast(Table* table) {
  std::set<std::string> kept;
  MutexLock lock(&mutex_);
  for (const auto& [target, peers] : table_) {
    const bool own = peers.size() == 1 && peers.front().url == options_.self;
    if (own || table->contains(target)) continue;
    if (kept.size() == kMaxKept) break;
    table->emplace(target, peers);
    kept.insert(target);
    if (kept_.contains(target)) continue;
    LogWarning(absl::StrCat("target '", target, "': no node is registered for it any more; going on with the ",
                            peers.size(), " known last"));
  }
  kept_ = std::move(kept);
  kept_metric_.Set(static_cast<double>(kept_.size()));
}

void EtcdResolver::Update(const EtcdMirror::Entries& entries) {
  Table table;
  std::set<std::string> bad;
  for (const auto& [key, value] : entries) AddNode(key, value, &bad, &table);
  bad_ = std::move(bad);
  nodes_metric_.Set(static_cast<double>(entries.size() - bad_.size()));
  KeepLast(&table);
  {
    MutexLock lock(&mutex_);
    if (table == table_) return;
    table_.swap(table);
  }
  watches_.TellAll();
}

}  // namespace portico
