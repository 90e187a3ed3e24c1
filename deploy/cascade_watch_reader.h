#pragma once

#include <string>

#include "absl/status/status.h"
#include "models/graph/cascade_watch.h"
#include "router/yaml_node.h"

namespace portico {

/// Reads `audit`, `expected` and `brown_out` of `from`, a cascade or a stage of one in mesh.yaml, where it has them;
/// `watch` keeps what it does not say. `subject` is what messages begin with. INVALID_ARGUMENT with file and line.
absl::Status ReadCascadeWatchKeys(const YamlNode& from, const std::string& subject, CascadeWatch* watch);

}  // namespace portico
