#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/execution_provider.h"
#include "base/version_policy.h"
#include "models/package/package.h"

namespace portico {

/// A model as a node is told to serve it.
struct ModelConfig {
  std::string name;
  /// Folder of the version folders.
  std::string base_path;
  VersionPolicy versions = {};
  /// Label → version. A label waits for its version where that is not available yet.
  std::map<std::string, int64_t> labels = {};
  /// Unload the old version before the new one is loaded: half the memory, for a gap in service. Otherwise the new one
  /// is available first.
  bool resource_preserving = false;
  /// Loaded when it is first asked for, unloaded when others need its memory.
  bool on_demand = false;
  /// In place of what servable.yaml says.
  std::optional<BatchingOptions> batching = std::nullopt;
  /// MiB of answers that each version keeps, in place of what servable.yaml says.
  std::optional<int64_t> result_cache_mib = std::nullopt;
  /// Product → its share of the runs, in place of what servable.yaml says; empty: as that. Holds for what is loaded,
  /// too.
  std::map<std::string, int64_t> shares = {};
  /// What it runs by, in place of the node's.
  std::optional<std::vector<ExecutionProvider>> providers = std::nullopt;
  /// Share of its requests that the request log records, in place of the node's.
  std::optional<double> request_log_sample = std::nullopt;
};

/// INVALID_ARGUMENT naming what makes no sense: a name that is empty or comes twice, no base path, a policy, a label.
absl::Status CheckModelConfigs(const std::vector<ModelConfig>& models);

}  // namespace portico
