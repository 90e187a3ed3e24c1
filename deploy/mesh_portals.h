#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "deploy/mesh.h"
#include "deploy/package_reader.h"
#include "models/package/package.h"
#include "router/revision.h"
#include "router/yaml_node.h"

namespace portico {

/// Where mesh.yaml speaks of models: its maps `models` and, where it has it, `tables`.
struct MeshLines {
  const YamlNode& models;
  const YamlNode* tables = nullptr;
};

/// Where `models` speaks of `model`: under its name or, of a hub module, its first handle; null where it does not.
const YamlNode* ModelLine(const YamlNode& models, absl::string_view model);

/// The folders of the versions of `model` that are served, rising, at least one. NOT_FOUND where there is none.
absl::StatusOr<std::vector<VersionFolder>> ServedFolders(const Revision::Model& model);

/// Fills in the pins: which versions `versions` and `labels` of each model mean now, and their digests.
/// INVALID_ARGUMENT at the line of the model, or of the group whose shard it is. Reads all weights once: they count in
/// the digest.
absl::Status PinVersions(Revision* revision, const MeshLines& lines, PackageReader& packages);

/// Looks at the highest version that each model of the mesh pins and checks what its portals call: each target is a
/// model of this mesh that a node serves, has the digest and the signature that the portal asks for, experts of one
/// portal have signatures that agree, tables that a portal looks up in are in its group as it declares them, and no
/// chain of portals comes back to where it began. INVALID_ARGUMENT at the line of the model.
/// `find_pulled`: for what to say of a target that is missing; may be null.
absl::Status CheckPortals(const Revision& revision, const MeshLines& lines, PackageReader& packages,
                          const FindPulled& find_pulled = nullptr);

}  // namespace portico
