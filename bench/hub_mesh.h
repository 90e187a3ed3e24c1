#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "deploy/node_status.h"
#include "deploy/process.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico::bench {

/// Classes that a product of these tells apart.
inline constexpr int64_t kHubClasses = 10;

// An encoder (100 MB of weights) and products with a small head each.

ModelBuilder HubEncoder();
/// Encoder and head in one model.
ModelBuilder HubMonolith(uint64_t product);
/// Its encoder is at the hub, as model "encoder".
ModelBuilder HubProduct(uint64_t product);
/// It takes features: what a product's process needs without a portal.
ModelBuilder HubHeadAlone();

/// A mesh that `portico up` keeps.
class HubMesh {
 public:
  struct Node {
    std::string name;
    std::string model;
  };
  /// `folder` has the models' folders and gets the mesh file. Blocks until it is ready.
  HubMesh(const std::string& folder, const std::string& name, std::vector<Node> nodes);
  ~HubMesh();

  const std::string& model(size_t node) const { return nodes_[node].model; }
  const std::string& grpc(size_t node) const { return statuses_[node].grpc; }

  /// Of all nodes; what processes share counts once.
  double ResidentBytes() const;
  double ResidentBytes(size_t node) const;
  /// Rows and runs of `nodes` so far.
  std::pair<double, double> Runs(const std::vector<size_t>& nodes) const;

 private:
  const std::vector<Node> nodes_;
  /// Sockets: a short path.
  const TempFolder run_{"/tmp"};
  std::unique_ptr<Process> up_;
  std::string said_;
  std::vector<NodeStatus> statuses_;
};

/// Clients of nodes of a mesh, one gRPC connection each; a request has one row. Thread-safe.
class HubClients {
 public:
  HubClients(const HubMesh& mesh, const std::vector<size_t>& nodes);
  ~HubClients();

  size_t size() const { return stubs_.size(); }
  using Done = absl::AnyInvocable<void(const absl::Status&)>;
  void Send(size_t client, Done done);
  /// The probabilities that `client` gets.
  std::vector<float> Ask(size_t client);
  /// The 99th percentile of an open loop over all clients in turns, milliseconds from the intended time of sending.
  double OpenP99(double per_second, absl::Duration duration, uint64_t seed);

 private:
  struct Call;
  struct Stub;
  std::vector<std::unique_ptr<Stub>> stubs_;
};

/// Keeps so many requests under way, as many of each client, from when it is made until Stop().
class HubLoad {
 public:
  /// `clients` is not owned.
  HubLoad(HubClients& clients, int under_way);
  ~HubLoad() { Stop(); }

  /// Sends no more, and waits for the answers. Returns those that came before. Later calls do nothing.
  int64_t Stop();

 private:
  void Send(size_t client);

  HubClients& clients_;
  std::atomic<bool> over_{false};
  std::atomic<int64_t> answered_{0};
  std::atomic<int> under_way_;
};

}  // namespace portico::bench
