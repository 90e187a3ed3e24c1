#pragma once

#include <memory>

#include "cli/serve_flags.h"

namespace portico {

/// Flags of what a node computes by: cores, and ONNX Runtime's execution providers.
std::unique_ptr<ServeFlags> NewPlacementFlags();

}  // namespace portico
