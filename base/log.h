#pragma once

#include "absl/strings/string_view.h"

namespace portico {

/// One line each to standard error, with time and level. Thread-safe; never waits: lines that standard error does not
/// take are dropped, and the next one that it takes says how many. Never called per request on success. `file` and
/// `line` say where the call stands; leave them out.
void LogInfo(absl::string_view message, const char* file = __builtin_FILE(), int line = __builtin_LINE());
void LogWarning(absl::string_view message, const char* file = __builtin_FILE(), int line = __builtin_LINE());
void LogError(absl::string_view message, const char* file = __builtin_FILE(), int line = __builtin_LINE());

/// "debug", "info", "warning", "error" or "off"; false for any other word.
bool SetLogLevel(absl::string_view level);

/// "text" (as it is from the start: time, a letter for the level, the message) or "json": an object per line with
/// `time` (RFC 3339, UTC), `severity` (INFO, WARNING, ERROR), `node` (where not empty), `file` and `message`. False for
/// any other word.
bool SetLogFormat(absl::string_view format, absl::string_view node);

}  // namespace portico
