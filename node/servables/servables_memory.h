#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "node/servables/version_state.h"

namespace portico {

/// What the loaded models of a node take.
struct ServablesMemory {
  struct Version {
    std::string model;
    int64_t version = 0;
    /// kAvailable, or kUnloading while requests still hold it.
    VersionState state = VersionState::kAvailable;
    /// As counted against the budget: weights, or the folder's files where these are more, and the most that its kept
    /// answers may take.
    uint64_t bytes = 0;
  };
  std::vector<Version> versions;
  /// Distinct weights in memory; equal ones of several versions or models count once.
  uint64_t weight_bytes = 0;
  /// Of versions that are unloaded but that requests still hold.
  uint64_t pinned_bytes = 0;
  /// Being loaded, by the sizes of their files.
  uint64_t loading_bytes = 0;
  /// 0: no limit.
  uint64_t budget_bytes = 0;
  /// Requests that wait for on-demand loads.
  uint64_t waiting_requests = 0;
};

}  // namespace portico
