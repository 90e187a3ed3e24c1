#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace portico {

/// Text from elsewhere as it may be printed: what would control the terminal becomes '?'.
std::string ForTerminal(absl::string_view text);

/// Columns that `text` takes. REQUIRES: UTF-8 of characters that each take one.
size_t ColumnsOf(absl::string_view text);

/// `text` in exactly `columns` columns: cut with '…' at its end, or filled with blanks behind it.
std::string FitLeft(absl::string_view text, size_t columns);
/// The same with the blanks in front.
std::string FitRight(absl::string_view text, size_t columns);

}  // namespace portico
