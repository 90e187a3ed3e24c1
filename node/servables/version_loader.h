#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "models/package/package.h"
#include "node/servables/folder_state.h"
#include "node/servables/model_config.h"
#include "node/servables/servable.h"
#include "node/servables/warmup.h"

namespace portico {

/// Makes a servable of a version's folder: reads it, makes its sessions, replays its warm-up requests. Beside the
/// requests, on the niced threads of Servables. Thread-safe. Owns the weights that versions and models share.
class VersionLoader {
 public:
  struct Options {
    /// In place of what servable.yaml says, for models whose configuration does not say.
    std::optional<BatchingOptions> batching;
    WarmupOptions warmup;
    /// What `result_cache_mib` of a version may not exceed, beside the machine's memory; 0: that alone.
    uint64_t memory_budget_bytes = 0;
  };
  struct Loaded {
    /// Its error names model and version.
    absl::StatusOr<std::shared_ptr<const Servable>> servable;
    /// The folder as it was before it was read.
    FolderState folder;
  };

  /// `stopping`, when it says so, ends a warm-up early.
  VersionLoader(Options options, const Servable::Dependencies& dependencies, std::function<bool()> stopping)
      : options_(std::move(options)), dependencies_(dependencies), stopping_(std::move(stopping)) {}

  /// Blocks: seconds, for a large model.
  Loaded Load(const ModelConfig& config, const VersionFolder& folder);
  /// Distinct weights in memory.
  uint64_t weight_bytes() const { return weights_.bytes(); }

 private:
  absl::Status CheckResultCache(const Package& package) const;
  absl::StatusOr<std::shared_ptr<const Servable>> Read(const ModelConfig& config, const VersionFolder& folder);

  const Options options_;
  const Servable::Dependencies dependencies_;
  const std::function<bool()> stopping_;
  WeightStore weights_;
};

}  // namespace portico
