#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/metric_scope.h"
#include "base/mutex.h"
#include "router/etcd/client.h"
#include "router/etcd/mirror.h"
#include "router/resolver.h"
#include "router/resolver_watches.h"

namespace portico {

/// Answers as another resolver does, and with the nodes that have registered themselves in etcd for the target
/// (RegisteredNode), as they come and go. A target that would lose the last of its nodes keeps them: they may have lost
/// etcd only, and where they have gone for good calls fail either way. While etcd is away, who was known last stays.
/// Thread-safe.
class EtcdResolver final : public Resolver {
 public:
  struct Options {
    /// PREFIX/nodes/, where nodes are.
    std::string nodes;
    /// The node's own id, and how it reaches itself.
    std::string own;
    std::string self;
    /// Sockets of a file are for nodes of the same host.
    std::string host;
  };

  /// None is owned, all must outlive it.
  EtcdResolver(Options options, const Resolver& inner, EtcdClient& client, MetricRegistry& metrics);

  /// As EtcdMirror's.
  bool WaitForFirst(absl::Duration timeout) { return mirror_.WaitForFirst(timeout); }

  std::vector<PeerAddress> Resolve(absl::string_view servable) const override;
  std::unique_ptr<Watch> WatchChanges(std::function<void()> changed) const override;

 private:
  using Table = std::map<std::string, std::vector<PeerAddress>, std::less<>>;

  void Update(const EtcdMirror::Entries& entries);
  /// Adds what one node serves. Logs, once, what is none.
  void AddNode(const std::string& key, const std::string& value, std::set<std::string>* bad, Table* table);
  /// Where targets would have nobody left.
  void KeepLast(Table* table);

  const Options options_;
  const Resolver& inner_;
  MetricScope metrics_;
  Gauge& nodes_metric_;
  Gauge& kept_metric_;
  mutable ResolverWatches watches_;
  mutable Mutex mutex_;
  Table table_ ABSL_GUARDED_BY(mutex_);
  // Of the mirror's thread.
  std::set<std::string> bad_;
  std::set<std::string> kept_;
  /// Passes on what the inner one tells.
  std::unique_ptr<Watch> inner_watch_;
  /// Last: it calls Update() while all else is there.
  EtcdMirror mirror_;
};

}  // namespace portico
