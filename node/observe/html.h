#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace portico {

/// `text` as it may stand between tags and in quoted attributes. Bytes that are not UTF-8, and what controls a terminal
/// or a browser's line, become '?'; line breaks stay.
std::string HtmlText(absl::string_view text);

/// A whole page: needs nothing but itself, runs nothing, suits narrow screens and dark ones. `title` is text, `body`
/// HTML.
std::string HtmlPage(absl::string_view title, absl::string_view body);

/// What a page of HtmlPage() is sent with: a browser loads nothing for it and runs nothing in it, whatever is in it.
std::vector<std::pair<std::string, std::string>> HtmlHeaders();

}  // namespace portico
