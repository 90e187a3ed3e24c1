#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "router/revision.h"

namespace portico {

/// mesh.yaml as a person writes it (docs/mesh_yaml.md), parsed strictly: an unknown key, a missing path, a duplicate
/// name, a port that two nodes claim, a node that serves a model that is not there, a cycle of portals:
/// INVALID_ARGUMENT "mesh.yaml:12: what is wrong, got, want; remedy". Relative model paths are meant from the file's
/// folder.
struct MeshFile {
  std::string path;
  /// Peer endpoints that the file leaves open are empty; replicas are expanded.
  Revision revision;
};

absl::StatusOr<MeshFile> ReadMeshFile(const std::string& path);

}  // namespace portico
