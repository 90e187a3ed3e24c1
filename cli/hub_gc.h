#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/hub_flags.h"

namespace portico {

struct HubGcFlags {
  HubFlags hub;
  /// Remove from the store, not from the cache.
  bool from_store = false;
  std::vector<std::string> handles;
  std::vector<std::string> meshes;
  /// Of meshes that run.
  std::vector<std::string> run_folders;
  bool all = false;
  bool dry_run = false;
};

/// Removes what nobody uses and prints that. Nothing is removed where a mesh file cannot be read, or a module that is
/// asked for is used.
absl::Status RunHubGc(const HubGcFlags& flags);

}  // namespace portico
