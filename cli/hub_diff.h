#pragma once

#include <string>

#include "absl/status/status.h"
#include "cli/hub_flags.h"

namespace portico {

/// Prints how `after` differs from `before`, each a handle or a version folder's path ("./…", "/…"): signatures,
/// digest, files, weights. Modules of stores that are no folders are pulled.
absl::Status RunHubDiff(const HubFlags& flags, const std::string& before, const std::string& after);

}  // namespace portico
