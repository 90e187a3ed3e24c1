#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace portico {

// Tells processes apart for which the same is claimed: whether one that said who it is still runs can be known where it
// is of this machine, and nowhere else.

/// This process among all that any machine ever ran: BOOT/NAMESPACE/PID/START. Empty where the system does not say.
std::string OwnProcessName();

enum class ProcessState { kRuns, kEnded, kUnknown };
/// Of the process that calls itself so; unknown where it is of another machine, boot or container.
ProcessState StateOfProcess(absl::string_view name);

/// Its number, for people; empty where `name` is none.
std::string PidOf(absl::string_view name);

}  // namespace portico
