#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace portico {

/// Where a version stands. States and numbers of ModelVersionStatus.State.
enum class VersionState { kStart = 10, kLoading = 20, kAvailable = 30, kUnloading = 40, kEnd = 50 };

/// "START", "AVAILABLE", ...: what clients of the TensorFlow Serving API read.
absl::string_view VersionStateName(VersionState state);

struct VersionStatus {
  int64_t version = 0;
  VersionState state = VersionState::kStart;
  /// Why it failed to load, where it did.
  absl::Status status;
};

/// A configured model and what has become of its versions.
struct ModelIndex {
  std::string name;
  /// Rising.
  std::vector<VersionStatus> versions;
  /// Why its folder could not be listed, or has no version; OK where it could.
  absl::Status listing;
  /// Unloaded by an operator (Servables::Unload()).
  bool unloaded = false;
  /// Loaded when it is asked for.
  bool on_demand = false;
};

}  // namespace portico
