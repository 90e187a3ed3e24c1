#pragma once

#include <string>

#include "absl/status/status.h"
#include "models/graph/experts_watch.h"
#include "router/yaml_node.h"

namespace portico {

/// Reads `expected` of `from`, the `experts:` of a model in mesh.yaml with so many of them, where it has it. `subject`
/// is what messages begin with. INVALID_ARGUMENT with file and line.
absl::Status ReadExpertsWatchKeys(const YamlNode& from, const std::string& subject, size_t experts,
                                  ExpertsWatch* watch);

}  // namespace portico
