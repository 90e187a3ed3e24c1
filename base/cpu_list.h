#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// Numbers of cores, "0-3,8": rising, each once, below 4096. INVALID_ARGUMENT "cpus: got …, want …".
absl::StatusOr<std::vector<int>> ParseCpuList(absl::string_view text);

/// All threads of this process, and those that they start from then on, run on these cores alone. FAILED_PRECONDITION
/// where the calling thread may not run on one of them, with those on which it may.
absl::Status RunOnCpus(const std::vector<int>& cpus);

}  // namespace portico
