#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/metric.h"
#include "base/mutex.h"
#include "node/revision_follower.h"
#include "router/etcd/client.h"
#include "router/etcd/registration.h"
#include "router/etcd_resolver.h"
#include "router/registered_node.h"
#include "transport/transport.h"

namespace portico {

/// A node's place in an etcd cluster: it finds the others there, and they find it. What it says of itself goes when the
/// process does (a lease), or before a node that stops sends its peers away.
///
///   membership->resolver();   …   membership->Join(endpoint);   membership->Say…();   …   membership->Leave();
///
/// Thread-safe. Off every request's path.
class EtcdMembership {
 public:
  struct Options {
    /// Without endpoints there is none.
    EtcdOptions etcd;
    /// Of all keys of this mesh, without a slash at its end.
    std::string prefix = "/portico/default";
    std::string node = "node";
    int replica = 0;
    /// How peers reach the node; empty: as its listener is bound, by the host's name where that is any address.
    std::string advertise;
    std::string zone;
    /// How long peers believe in a node that gives no sign of life; whole seconds.
    absl::Duration ttl = absl::Seconds(5);
    /// How long a node that starts waits for the first list of the others.
    absl::Duration first_list = absl::Seconds(1);
  };

  /// `self`: how the node's own portals reach it. Contacts etcd; that it is away is no error. `inner` (who else serves
  /// what) and `metrics` are not owned and must outlive it.
  static absl::StatusOr<std::unique_ptr<EtcdMembership>> Create(Options options, const std::string& self,
                                                                const Resolver& inner, MetricRegistry& metrics);
  ~EtcdMembership();

  const Resolver& resolver() const { return *resolver_; }

  /// The node serves from now on; `endpoint`: its peer listener as bound, empty: it has none. ALREADY_EXISTS where
  /// another node has its name: at once where that one is of this machine, else as soon as it has outlived its lease.
  /// Of one that was killed the name is taken over.
  absl::Status Join(const std::string& endpoint);
  void SayServed(const std::vector<PeerState::Served>& served);
  void SayRevisions(const RevisionState& state);
  /// Nobody is to find it any more. Blocks for as long as etcd takes, some seconds at most.
  void Leave();

 private:
  EtcdMembership(Options options, const std::string& self, std::unique_ptr<EtcdClient> client, const Resolver& inner,
                 MetricRegistry& metrics);
  void TellOf(const std::string& endpoint);
  void Tell() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const std::unique_ptr<EtcdClient> client_;
  std::unique_ptr<EtcdResolver> resolver_;
  EtcdRegistration registration_;
  Mutex mutex_;
  bool joined_ ABSL_GUARDED_BY(mutex_) = false;
  RegisteredNode said_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
