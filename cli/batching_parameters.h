#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "models/package/package.h"

namespace portico {

/// What a --batching_parameters_file (text protobuf, tensorflow.serving.BatchingParameters) means, over the defaults of
/// BatchingOptions. INVALID_ARGUMENT naming file and field.
absl::StatusOr<BatchingOptions> ReadBatchingParameters(const std::string& path);

}  // namespace portico
