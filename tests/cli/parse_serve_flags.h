#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "cli/serve_flags.h"

namespace portico {

/// What a command line of these groups makes of the options of a node; UNKNOWN where it cannot be parsed.
absl::Status ParseServeFlags(absl::Span<ServeFlags* const> groups, std::vector<std::string> arguments,
                             Node::Options* options);

}  // namespace portico
