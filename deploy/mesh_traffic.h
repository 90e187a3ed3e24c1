#pragma once

#include "absl/status/status.h"
#include "deploy/package_reader.h"
#include "router/revision.h"
#include "router/yaml_node.h"

namespace portico {

/// Reads `traffic:` of mesh.yaml (docs/mesh_yaml.md) into the revision, whose versions are pinned already: what a split
/// calls an arm becomes an exact version. A name that is no arm, an arm that some node would be asked for and does not
/// serve, weights of nothing, a ramp without a baseline, an arm that a request for the others does not suit:
/// INVALID_ARGUMENT at its line.
absl::Status ReadTrafficSplits(const YamlNode& traffic, PackageReader& packages, Revision* revision);

/// What ramps have come to in `from` goes on in `to` where both mean the same ramp; else it begins anew.
void CarryRamps(const Revision& from, Revision* to);

}  // namespace portico
