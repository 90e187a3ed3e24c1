#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace portico {

/// Appends `text` with quotes and escapes. Bytes that are not UTF-8 become '?'.
void AppendJsonString(absl::string_view text, std::string* out);

}  // namespace portico
