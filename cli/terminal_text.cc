#include "cli/terminal_text.h"

namespace portico {
namespace {

/// Of a character in UTF-8, every byte but the first.
bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

std::string Cut(absl::string_view text, size_t columns) {
  size_t end = 0;
  for (size_t seen = 0; end < text.size(); ++end) {
    if (!IsContinuation(text[end]) && seen++ == columns) break;
  }
  return std::string(text.substr(0, end));
}

std::string CutTo(absl::string_view text, size_t columns) {
  if (ColumnsOf(text) <= columns) return std::string(text);
  return columns == 0 ? "" : Cut(text, columns - 1) + "…";
}

}  // namespace

std::string ForTerminal(absl::string_view text) {
  std::string result(text);
  for (size_t i = 0; i < result.size(); ++i) {
    const auto byte = static_cast<unsigned char>(result[i]);
    // U+0080 to U+009F control terminals too; in UTF-8 they begin with C2.
    const bool c1 = byte == 0xC2 && i + 1 < result.size() && static_cast<unsigned char>(result[i + 1]) < 0xA0;
    if (byte < 0x20 || byte == 0x7F) result[i] = '?';
    if (c1) result[i] = result[i + 1] = '?';
  }
  return result;
}

size_t ColumnsOf(absl::string_view text) {
  size_t columns = 0;
  for (const char c : text) columns += !IsContinuation(c);
  return columns;
}

std::string FitLeft(absl::string_view text, size_t columns) {
  std::string result = CutTo(text, columns);
  return result.append(columns - ColumnsOf(result), ' ');
}

std::string FitRight(absl::string_view text, size_t columns) {
  const std::string result = CutTo(text, columns);
  return std::string(columns - ColumnsOf(result), ' ') + result;
}

}  // namespace portico
