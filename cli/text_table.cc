#include "cli/text_table.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "cli/terminal_text.h"

namespace portico {
namespace {

constexpr size_t kGap = 2;
constexpr size_t kMinText = 6;

}  // namespace

TextTable::TextTable(std::vector<std::string> titles, size_t left) : left_(left), rows_{std::move(titles)} {}

void TextTable::Add(std::vector<std::string> cells) {
  PORTICO_CHECK(cells.size() == rows_.front().size());
  rows_.push_back(std::move(cells));
}

std::string TextTable::Print(size_t columns) const {
  std::vector<size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], ColumnsOf(row[i]));
  }
  size_t total = kGap * (widths.size() - 1);
  for (const size_t width : widths) total += width;
  // The widest text gives way first, so that short ones stay whole.
  while (total > columns) {
    const auto widest = std::max_element(widths.begin(), widths.begin() + static_cast<std::ptrdiff_t>(left_));
    if (widest == widths.begin() + static_cast<std::ptrdiff_t>(left_) || *widest <= kMinText) break;
    --*widest;
    --total;
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      if (i != 0) line.append(kGap, ' ');
      line += i < left_ ? FitLeft(row[i], widths[i]) : FitRight(row[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

}  // namespace portico
