#pragma once

#include <string>

#include "absl/status/status.h"
#include "hub/sweep.h"

namespace portico {

/// Adds what the nodes of a running mesh may serve now to `pins`: of its run folder's live revisions (from the oldest
/// that requests still have to the one that is being prepared) each version that they pin, by handle and digest, and
/// what their portals call. NOT_FOUND where no revision is there; INVALID_ARGUMENT for a document that cannot be read.
absl::Status AddRunPins(const std::string& run_folder, ModulePins* pins);

}  // namespace portico
