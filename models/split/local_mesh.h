#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "models/graph/graph.h"
#include "models/package/model.h"
#include "models/package/signature.h"
#include "models/split/called_models.h"
#include "models/split/portal_ops.h"

namespace portico {

/// A model and what its portals call, run in this process without threads: every op computes inline. Portals check what
/// a node would check. For one thread.
class LocalMesh {
 public:
  struct Options {
    /// Of graphs, by ONNX Runtime.
    bool optimize = false;
    /// Has what portals call that were not added; null: there is nothing else. Not owned; outlives the mesh.
    CalledModels* called = nullptr;
    /// Runs portals other than Remote; null: they cannot be run. Not owned; outlives the mesh.
    PortalOps* ops = nullptr;
  };

  explicit LocalMesh(const Options& options) : options_(options) {}

  /// Adds a model under a name and the digest by which portals call it: what it calls first. `model` is used during the
  /// call alone. FAILED_PRECONDITION where the model has another digest, and for a portal that cannot be run here.
  absl::Status Add(const std::string& name, const Model& model, const Digest& digest);

  /// Runs the model that was added last: inputs and outputs in the graph's order.
  absl::StatusOr<std::vector<Tensor>> Run(const std::vector<Tensor>& inputs) const;

 private:
  class Portal;
  /// One signature of a model.
  struct Servable {
    Digest digest;
    Signature signature;
    std::unique_ptr<Graph> graph;
  };

  absl::StatusOr<Servable> Make(const std::string& name, const Model& model, const Digest& digest,
                                const Signature& signature);
  absl::StatusOr<std::unique_ptr<AsyncOp>> MakePortal(const PortalSpec& portal);
  /// `portal` is of op Remote.
  absl::StatusOr<std::unique_ptr<AsyncOp>> MakeRemote(PortalSpec portal);
  absl::StatusOr<const Servable*> FindTarget(const PortalSpec& portal);

  const Options options_;
  /// By name. Of what was added.
  absl::flat_hash_map<std::string, std::unique_ptr<Servable>> servables_;
  /// By digest and signature. Of what was found.
  absl::flat_hash_map<std::string, std::unique_ptr<Servable>> called_;
  const Servable* last_ = nullptr;
  /// Portals between what was added and what is being found.
  int depth_ = 0;
};

}  // namespace portico
