#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "deploy/package_reader.h"
#include "hub/handle.h"
#include "models/compose/compose.h"
#include "models/graph/portal_target.h"
#include "router/revision.h"

namespace portico {

/// mesh.yaml as a person writes it (docs/mesh_yaml.md), parsed strictly: an unknown key, a missing path, a duplicate
/// name, a port that two nodes claim, a node that serves a model that is not there, a cycle of portals:
/// INVALID_ARGUMENT "mesh.yaml:12: what is wrong, got, want; remedy"; the store's own code where a hub module may be
/// found later (MayPass()). Relative model paths are meant from the file's folder.
///
/// What `versions` and `labels` mean is looked up in the folders, and pinned: versions and digests.
struct MeshFile {
  std::string path;
  /// Peer endpoints that the file leaves open are empty; replicas are expanded.
  Revision revision;
};

/// Finds a hub module that a mesh file names by its handle: the folder of its versions, among which is the handle's.
using FindModule = std::function<absl::StatusOr<std::string>(const std::string& store, const Handle& handle)>;

/// The hub module on this machine that has the digest of a portal's target: what a mesh file may have left out.
using FindPulled = std::function<std::optional<Handle>(const PortalTarget& target)>;

/// `packages` remembers what was read of model folders; null: nobody does. `composed_folder`: where models that are
/// made of others (`cascade:`, …) are written, each in a folder of its name; empty: such models are refused.
/// `find_module`: null: hub modules are refused. `find_pulled`: for what to say of a portal's target that is missing;
/// may be null.
absl::StatusOr<MeshFile> ReadMeshFile(const std::string& path, PackageReader* packages = nullptr,
                                      const std::string& composed_folder = "", const FindModule& find_module = nullptr,
                                      const FindPulled& find_pulled = nullptr);

/// Makes models of the mesh file that are made of others: `model`, or all where it is empty. Looks at `models` alone.
absl::StatusOr<std::vector<std::shared_ptr<const ComposedModel>>> ComposeModels(
    const std::string& path, const std::string& model, const FindModule& find_module = nullptr);

/// A cascade of a mesh file, and how to look up what it is made of. A value; copies share what was read.
struct CascadeSource {
  std::shared_ptr<const Composition> cascade;
  FindIngredient find;
};
/// Reads cascade `model` of the mesh file, or its only one where that is empty; it is held against its members when it
/// is bound, not here. Looks at `models` alone. INVALID_ARGUMENT with the file's cascades where there is none.
absl::StatusOr<CascadeSource> ReadCascade(const std::string& path, const std::string& model,
                                          const FindModule& find_module = nullptr);

}  // namespace portico
