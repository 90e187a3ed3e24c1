#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/digest.h"
#include "base/execution_provider.h"
#include "base/version_policy.h"
#include "router/hedge_policy.h"
#include "router/node_keys.h"
#include "router/on_error_policy.h"
#include "router/traffic.h"

namespace portico {

/// How calls to a target are made; `policies:` of mesh.yaml.
struct RoutePolicy {
  /// Upper limit of one call; the request's own deadline is often sooner. Zero: the request's own alone.
  absl::Duration timeout = absl::ZeroDuration();
  /// A name of the table in router/policies/policy.h.
  std::string balance = "p2c";
  /// How many other replicas a call may be sent to after the first could not answer it.
  int retries = 2;
  /// Retries per hundred calls, in the long run; a burst may be larger (RetryBudget).
  int retry_percent = 20;
  HedgePolicy hedge;
  /// Calls to this target in flight from this node; 0: as many as the channels take.
  int max_in_flight = 0;
  OnErrorPolicy on_error;
  /// Faults in a row after which a replica is put aside; 0: never.
  int eject_after = 5;
  /// For how long at first; doubled each time that it comes back and fails again, up to 32 times as long.
  absl::Duration eject_for = absl::Seconds(1);
  /// Faults per hundred calls of a few seconds at which a replica is put aside; 0: never.
  int eject_error_percent = 50;
  /// A replica is put aside when its smoothed latency is so many times the median of the others; 0: never.
  int eject_slower = 10;
  /// How long a replica that was connected to while others serve takes a growing share; zero: its full share at once.
  absl::Duration slow_start = absl::Seconds(2);

  friend bool operator==(const RoutePolicy&, const RoutePolicy&) = default;
};

/// One immutable, consistent picture of a mesh: which models there are and who serves them where. Nodes read it from a
/// file that `portico up` (or a controller) writes; the data path needs nothing else.
struct Revision {
  /// One exact version of a model.
  struct Pin {
    int64_t version = 0;
    Digest digest;
    friend bool operator==(const Pin&, const Pin&) = default;
  };
  /// What portals of one version of a model call.
  struct Call {
    int64_t version = 0;
    std::string target;
    /// Empty: whatever the target is.
    Digest digest;
    friend bool operator==(const Call&, const Call&) = default;
  };
  struct Model {
    std::string name;
    /// Base folder with the version folders; absolute.
    std::string path;
    VersionPolicy versions;
    /// What `versions` and `labels` meant when the revision was written, rising: nodes serve these and no others. Empty
    /// in a document that leaves that to each node's own look at the folder.
    std::vector<Pin> pins;
    /// Of the pinned versions, by version and target, each once. For people (/hub): no request goes by it.
    std::vector<Call> calls;
    /// Label → version.
    std::map<std::string, int64_t> labels;
    /// The old version goes before the new one is loaded.
    bool resource_preserving = false;
    /// Loaded when it is first asked for.
    bool on_demand = false;
    /// MiB of answers that each node keeps of each of its versions; none: as its servable.yaml says.
    std::optional<int> result_cache_mib;
    /// What it runs by, in place of what its nodes say.
    std::optional<std::vector<ExecutionProvider>> providers;
    static constexpr int kMaxResultCacheMib = 16 << 20;
    /// Product → its share of the runs (BatchingOptions::shares), in place of what servable.yaml says; empty: as that.
    std::map<std::string, int64_t> shares;
  };
  /// A group of tables that are divided alike, each shard a model of the revision: ShardName(name, k, shards).
  struct Table {
    std::string name;
    /// Base folder with the shards' folders; absolute.
    std::string path;
    uint32_t shards = 1;
    /// Of rows that each process with portals to it keeps; 0: none are kept.
    uint64_t cache_bytes = 0;
  };
  /// A target of portals that no node of the mesh serves, but servers of another make.
  struct External {
    std::string name;
    /// Endpoints of foreign servers (transport/foreign_endpoint.h).
    std::vector<std::string> peers;
    /// What these call it.
    std::string model;
    /// −1: the newest.
    int64_t version = -1;
    /// The only one that portals may call; empty: any.
    std::string signature;
  };
  struct Node {
    static constexpr int kMaxHugePagesMib = 16 << 20;

    std::string name;
    int replica = 0;
    std::vector<std::string> serve;
    /// Where its peers reach it: `tcp://…`, `unix://…`, `shm://…`, `zmq+tcp://…`, `zmq+ipc://…`, `grpc://…`.
    std::string peer;
    /// Client addresses HOST:PORT; empty: no such listener.
    std::string grpc;
    std::string http;
    /// Worker threads; 0: one per core.
    int workers = 0;
    /// Threads that read and write HTTP; 0: one per four cores.
    int http_threads = 0;
    /// Memory of huge pages for the hottest rows of tables; 0: none.
    int huge_pages_mib = 0;
    /// Cores that its process runs on, "0-3,8"; empty: all.
    std::string cpus;
    /// What its models run by that do not say; empty: cpu.
    std::vector<ExecutionProvider> providers;
    NodeKeys keys;
    /// Where it stands, for `balance: locality`; empty: not known.
    std::string zone;

    /// "hub/0".
    std::string id() const;
  };

  uint64_t number = 0;
  std::string mesh;
  /// Why it was written, for people.
  std::string reason;
  std::vector<Model> models;
  std::vector<Node> nodes;
  std::vector<External> externals;
  std::vector<Table> tables;
  RoutePolicy default_policy;
  /// By target.
  std::map<std::string, RoutePolicy> policies;
  /// By the model that is asked for.
  std::map<std::string, TrafficSplit> traffic;
  /// No model has calls, whatever its portals call: LimitCalls().
  bool calls_left_out = false;

  const Model* FindModel(absl::string_view name) const;
  const Node* FindNode(absl::string_view name, int replica) const;
  const External* FindExternal(absl::string_view name) const;
  const Table* FindTable(absl::string_view name) const;
  const RoutePolicy& PolicyFor(const std::string& target) const;
  /// Whether both say the same, whatever their numbers and reasons are.
  bool SaysTheSameAs(const Revision& other) const;
};

class YamlNode;
/// The policy that `from` (a map of the keys in docs/mesh_yaml.md) says; keys it leaves out keep `base`'s.
/// INVALID_ARGUMENT with file, line and `subject` for an unknown key, a bad duration or a balance policy that is not in
/// the table.
absl::StatusOr<RoutePolicy> ReadRoutePolicy(const YamlNode& from, absl::string_view subject, RoutePolicy base);

/// As YAML, for people to read and ReadRevision() to read back.
std::string FormatRevision(const Revision& revision);
/// Leaves all calls out where the text is longer than `max_bytes` with them: they are for people, and no mesh is
/// refused for their sake. What they call is pinned.
void LimitCalls(Revision* revision, size_t max_bytes = size_t{512} << 10);
/// INVALID_ARGUMENT with file and line for what FormatRevision() would not have written.
absl::StatusOr<Revision> ReadRevision(const std::string& path);
/// The same of its text; `name` is what messages call it.
absl::StatusOr<Revision> ParseRevision(const std::string& text, const std::string& name);

}  // namespace portico
