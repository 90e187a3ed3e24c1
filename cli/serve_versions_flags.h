#pragma once

#include <memory>

#include "cli/serve_flags.h"

namespace portico {

/// Flags of versions, loading and memory that TensorFlow Serving has no name for.
std::unique_ptr<ServeFlags> NewVersionsFlags();

}  // namespace portico
