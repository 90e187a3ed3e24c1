#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "hub/manifest.h"
#include "node/servables/model_config.h"
#include "node/servables/servables.h"
#include "router/revision.h"

namespace portico {

/// A hub module as a node knows it: what was published, and what has become of it in this mesh.
struct ModuleView {
  struct User {
    std::string model;
    int64_t version = 0;
    friend auto operator<=>(const User&, const User&) = default;
  };
  /// This node serves it, or is meant to.
  struct Here {
    VersionState state = VersionState::kStart;
    /// Why it does not serve; empty where it does.
    std::string error;
    uint64_t succeeded = 0;
    uint64_t failed = 0;
    uint64_t rows = 0;
    absl::Time last_request;
    /// As it is loaded, with axis kinds; null where it is not.
    std::shared_ptr<const Servable> servable;
  };

  Manifest manifest;
  /// Models of the mesh whose portals call it, rising by name and version; none where the revision does not say.
  std::optional<std::vector<User>> used_by;
  /// Nodes that are to serve it, "hub/0".
  std::vector<std::string> served_by;
  std::optional<Here> here;

  /// The manifest's, with axis kinds where it is loaded here.
  const std::vector<Signature>& signatures() const;
};

/// The hub modules of a node's mesh, or, without one, of the node: models whose version folders have manifests that are
/// theirs, by handle and digest. Thread-safe; reads files.
class ModuleCatalog {
 public:
  /// Not owned, must outlive it.
  explicit ModuleCatalog(const Servables& servables) : servables_(servables) {}

  /// What is served here, each time that it changes.
  void SetModels(const std::vector<ModelConfig>& models);
  /// What the mesh is, each time that it changes.
  void SetRevision(const Revision& revision);

  /// Rising by handle. Reads the manifests of all models.
  std::vector<ModuleView> List() const;
  /// Reads that module's manifest alone, unless it is NOT_FOUND, with the modules that there are.
  absl::StatusOr<ModuleView> Find(const Handle& handle) const;
  /// Of the mesh; empty without one.
  std::string mesh() const;

 private:
  struct Glance;

  Glance Look() const;
  std::optional<ModuleView> View(const Glance& glance, const Revision::Model& model, const Revision::Pin& pin) const;
  std::vector<ModuleView> List(const Glance& glance) const;

  const Servables& servables_;
  mutable Mutex mutex_;
  std::shared_ptr<const Revision> revision_ ABSL_GUARDED_BY(mutex_);
  std::vector<ModelConfig> models_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
