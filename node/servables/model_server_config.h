#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "node/servables/model_config.h"

namespace tensorflow::serving {
class ModelServerConfig;
}

namespace portico {

/// What a tensorflow.serving.ModelServerConfig means. INVALID_ARGUMENT naming model and field for what a node cannot
/// do; Servables::Configure() checks the rest. A `logging_config` is left out, and a warning says so.
absl::StatusOr<std::vector<ModelConfig>> ModelsOfServerConfig(const tensorflow::serving::ModelServerConfig& config);

/// The same from a file in protobuf's text format, at most 16 MiB. Errors name file, line and column.
absl::StatusOr<std::vector<ModelConfig>> ReadModelConfigFile(const std::string& path);

}  // namespace portico
