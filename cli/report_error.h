#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace portico {

/// A command's exit code: 0 for OK; 1 for an error, which goes to standard error as "portico COMMAND: message".
int ReportError(absl::string_view command, const absl::Status& status);

}  // namespace portico
