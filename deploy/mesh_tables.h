#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/graph/graph_plan.h"
#include "router/revision.h"
#include "router/yaml_node.h"

namespace portico {

/// Reads the group `name` of `tables:` of mesh.yaml into the revision: the group, and each of its shards as a model,
/// which is pinned to the versions that all shards have and `versions` means. Relative paths start at `folder`.
/// INVALID_ARGUMENT with file and line.
absl::Status ReadTableGroup(const std::string& name, const YamlNode& from, const std::filesystem::path& folder,
                            Revision* revision);

/// What `serve: [name]` means: the shards of a group; of anything else the name itself.
std::vector<std::string> ServedNames(const Revision& revision, const std::string& name);

/// The group of which a model is a shard; null where it is none.
const Revision::Table* GroupOf(const Revision& revision, absl::string_view model);

/// The policies of groups hold for their shards, unless those have their own.
void SpreadPolicies(Revision* revision);

/// INVALID_ARGUMENT at the line in `tables`, the map of mesh.yaml, where a shard is served by no node.
absl::Status CheckServed(const Revision& revision, const YamlNode& tables);

/// Whether the tables that an `EmbeddingBag` looks up in are there as it declares them, and are those of its model:
/// FAILED_PRECONDITION where they were taken out of another. `folder`: of the version of the
/// group's first shard that serves; its shard file's directory is read.
absl::Status CheckTablesOf(const PortalSpec& portal, const std::string& folder);

/// What is in a group's folder as far as the mesh goes by it, as text that changes when it does.
std::string LookAtGroup(const Revision::Table& table);

}  // namespace portico
