#pragma once

#include <string>

#include "absl/status/status.h"
#include "hub/sweep.h"

namespace portico {

/// Adds what the mesh file needs of a hub to `pins`: modules that it names by handle, and, of models with a `path`, the
/// digest of every version there and of all that its portals call. Reads these packages whole; contacts nobody.
/// INVALID_ARGUMENT with file and line.
absl::Status AddMeshPins(const std::string& mesh_file, ModulePins* pins);

}  // namespace portico
