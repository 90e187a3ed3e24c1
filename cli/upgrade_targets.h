#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hub/cache.h"
#include "hub/store.h"
#include "models/graph/graph_plan.h"
#include "models/graph/portal_target.h"
#include "router/revision.h"

namespace portico {

/// Finds what a product's portals call, so that it can be run here: modules of a store by their digests, which are
/// pulled, and models of a mesh file. For one thread.
class UpgradeTargets {
 public:
  /// `mesh`: a mesh file, or empty. The others are not owned and must outlive it.
  UpgradeTargets(Store& store, HubCache& cache, std::string mesh)
      : store_(store), cache_(cache), mesh_(std::move(mesh)) {}

  /// A module that was pulled already.
  void Add(const HubCache::Pulled& module) { known_.emplace(module.manifest.digest, module.folder); }

  /// The version folder of what has the target's digest or, where it has none, of the highest version of its name.
  /// NOT_FOUND, with where it was looked for.
  absl::StatusOr<std::string> Find(const PortalTarget& target);

  /// The mesh, which has the group of tables. FAILED_PRECONDITION, with what to do, where there is no mesh file or it
  /// has no such group. Lives as long as this.
  absl::StatusOr<const Revision*> FindTables(const std::string& group);

  /// OK without a mesh file. FAILED_PRECONDITION unless a node of the mesh file serves the module: a mesh that has the
  /// product takes no change then, and does not start again.
  absl::Status CheckServed(const HubCache::Pulled& module);

  /// The handles, in quotes, of what the store has of the portals' targets.
  absl::StatusOr<std::vector<std::string>> HandlesOf(const std::vector<PortalSpec>& portals);

 private:
  absl::StatusOr<const std::vector<ModuleEntry>*> Entries();
  /// REQUIRES: there is a mesh file.
  absl::StatusOr<const Revision*> Mesh();
  /// Empty: it has none.
  absl::StatusOr<std::string> FindInMesh(const PortalTarget& target);

  Store& store_;
  HubCache& cache_;
  const std::string mesh_;
  std::map<Digest, std::string> known_;
  std::optional<std::vector<ModuleEntry>> entries_;
  std::optional<Revision> revision_;
};

}  // namespace portico
