#pragma once

#include "absl/status/status.h"
#include "router/revision.h"
#include "router/yaml_node.h"

namespace portico {

/// Reads the highest version of every model of the mesh and checks what its portals call: each target is a model of
/// this mesh that a node serves, has the digest and the signature that the portal asks for, and no chain of portals
/// comes back to where it began. INVALID_ARGUMENT at the line of the model in `models`, the map of mesh.yaml. Reads all
/// weights once: they count in the digest.
absl::Status CheckPortals(const Revision& revision, const YamlNode& models);

}  // namespace portico
