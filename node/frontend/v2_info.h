#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "node/servables/servable.h"
#include "node/servables/servables.h"

namespace inference {
class ModelConfig;
class ModelMetadataResponse;
class ModelStatisticsResponse;
class RepositoryIndexResponse;
class ServerMetadataResponse;
}  // namespace inference

namespace portico {

/// What the Open Inference Protocol tells about a node and its models, the same over gRPC and REST.

void FillV2ServerMetadata(inference::ServerMetadataResponse* response);

/// Inputs and outputs of `signature`; all versions that serve.
void FillV2ModelMetadata(const Servables& servables, const Servable& servable, const Signature& signature,
                         inference::ModelMetadataResponse* response);

/// Of Triton's model configuration what a client sizes its requests by; max_batch_size 0, so that dims are whole
/// shapes.
void FillV2ModelConfig(const Servable& servable, inference::ModelConfig* config);

/// All configured models and what has become of their versions; `ready_only`: those that serve.
void FillV2Index(const std::vector<ModelIndex>& models, bool ready_only, inference::RepositoryIndexResponse* response);

/// Whether a request for `ref` would be served now, or be what loads it.
bool V2ModelReady(const Servables& servables, const ServableRef& ref);

/// What the versions that serve have done since they were loaded. `name` empty: all models; `version` empty: all that
/// serve. NOT_FOUND where there is no such model, or it does not serve.
absl::Status FillV2Statistics(const Servables& servables, const std::string& name, const std::string& version,
                              inference::ModelStatisticsResponse* response);

}  // namespace portico
