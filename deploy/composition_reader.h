#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "models/compose/composition.h"
#include "router/yaml_node.h"

namespace portico {

/// Whether a model of mesh.yaml is made of others: has `cascade`, `experts`, `sequence` or `ensemble`.
bool IsComposition(const YamlNode& model);

/// What such a model, `from`, says (docs/composition.md); keys that all models have are read elsewhere. `file` is what
/// messages call the file. INVALID_ARGUMENT with file and line.
absl::StatusOr<Composition> ReadComposition(const std::string& name, const YamlNode& from, const std::string& file);

}  // namespace portico
