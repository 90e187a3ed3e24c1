#pragma once

#include <memory>

#include "cli/serve_flags.h"

namespace portico {

/// Which requests a node puts on record, and where: --request-log and --request-log-*.
std::unique_ptr<ServeFlags> NewRequestLogFlags();

}  // namespace portico
