#pragma once

#include <memory>

#include "cli/serve_flags.h"

namespace portico {

/// What a node tells of itself besides metrics: --log-format, --trace-*, --otlp-endpoint.
std::unique_ptr<ServeFlags> NewObserveFlags();

}  // namespace portico
