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
/// do; Servables::Configure() checks the rest. Of a `logging_config` the sampling rate counts; that its collector has
/// no effect, a warning says.
absl::StatusOr<std::vector<ModelConfig>> ModelsOfServerConfig(const tensorflow::serving::ModelServerConfig& config);

/// The same from `text`, the content of file `path`, in protobuf's text format. Errors name file, line and column.
absl::StatusOr<std::vector<ModelConfig>> ParseModelConfigFile(const std::string& path, const std::string& text);

}  // namespace portico
