#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// Where the time of one request went, hop by hop: a line per span of the trace that `traces` (a node's /debug/traces)
/// begins with, what it caused below it, with a bar for when. INVALID_ARGUMENT for other JSON; NOT_FOUND when it holds
/// no trace.
///
///      at ms   took ms  where
///      0.000     1.930  digit/0    request           ████████████████████████
///      0.210     1.105  digit/0      portal            █████████████
absl::StatusOr<std::string> Waterfall(absl::string_view traces);

}  // namespace portico
