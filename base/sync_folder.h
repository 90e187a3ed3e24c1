#pragma once

#include <string>

#include "absl/status/status.h"

namespace portico {

/// Makes what was created in a folder, renamed or removed last through a crash.
absl::Status SyncFolder(const std::string& folder);

}  // namespace portico
