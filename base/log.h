#pragma once

#include "absl/strings/string_view.h"

namespace portico {

/// One line each to standard error, with time and level. Thread-safe. Never called per request on success.
void LogInfo(absl::string_view message);
void LogWarning(absl::string_view message);
void LogError(absl::string_view message);

/// "debug", "info", "warning", "error" or "off"; false for any other word.
bool SetLogLevel(absl::string_view level);

}  // namespace portico
