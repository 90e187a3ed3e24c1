#pragma once

#include "absl/status/status.h"
#include "deploy/package_reader.h"
#include "router/revision.h"
#include "router/yaml_node.h"

namespace portico {

/// Fills in the pins: which versions `versions` and `labels` of each model mean now, and their digests.
/// INVALID_ARGUMENT at the line of the model in `models`, the map of mesh.yaml. Reads all weights once: they count in
/// the digest.
absl::Status PinVersions(Revision* revision, const YamlNode& models, PackageReader& packages);

/// Looks at the highest version that each model of the mesh pins and checks what its portals call: each target is a
/// model of this mesh that a node serves, has the digest and the signature that the portal asks for, experts of one
/// portal have signatures that agree, and no chain of portals comes back to where it began. INVALID_ARGUMENT at the
/// line of the model in `models`, the map of mesh.yaml.
absl::Status CheckPortals(const Revision& revision, const YamlNode& models, PackageReader& packages);

}  // namespace portico
