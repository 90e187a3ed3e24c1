#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace portico {

/// Lines of cells in columns as wide as what they hold. For one thread.
///
///     MODEL    CALLS/S     P99
///     digit        812  2.3 ms
class TextTable {
 public:
  /// `left`: how many columns from the first on are texts, which are told from the left and give way where there is no
  /// room; those behind are numbers.
  TextTable(std::vector<std::string> titles, size_t left);

  /// REQUIRES: as many cells as titles.
  void Add(std::vector<std::string> cells);
  size_t rows() const { return rows_.size() - 1; }
  /// With line breaks. No line is longer than `columns` unless numbers alone are.
  std::string Print(size_t columns) const;

 private:
  const size_t left_;
  /// The titles first.
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace portico
