#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "router/revision.h"
#include "router/yaml_node.h"

namespace portico {

/// What `on_error` of a policy, in mesh.yaml, says of a group of tables: `defaults` are finite numbers of tables that
/// the group has, in any version that is served; `last_known` stands for rows that are kept, so it needs a cache_mib
/// and takes no max_mib. INVALID_ARGUMENT with file, line and `subject`. `policy`: the map; of the shard files,
/// directories are read.
absl::Status CheckTablePolicy(const Revision& revision, const Revision::Table& table, const YamlNode& policy,
                              absl::string_view subject);

}  // namespace portico
