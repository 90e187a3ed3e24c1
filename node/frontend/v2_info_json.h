#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "node/frontend/v2_info.h"

namespace portico {

/// The same facts as JSON, for REST.
std::string V2Json(const inference::ServerMetadataResponse& metadata);
std::string V2Json(const inference::ModelMetadataResponse& metadata);
std::string V2Json(const inference::ModelConfig& config);
std::string V2Json(const inference::RepositoryIndexResponse& index);
std::string V2Json(const inference::ModelStatisticsResponse& statistics);

}  // namespace portico
