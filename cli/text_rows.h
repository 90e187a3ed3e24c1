#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "cli/row_source.h"

namespace portico {

enum class TextForm : uint8_t {
  /// id,v0,v1,...: the id may stand in quotes; a first line without any number is a header.
  kCsv,
  /// id, a tab, then v0 v1 ... between blanks.
  kKeyValue,
};

/// Rows that stand in a text, a line each; the first one says how many numbers a row has. `kind`: dense ids have to be
/// 0, 1, 2, ... in order. Some `piece_numbers` are read at a time. NOT_FOUND, or INVALID_ARGUMENT for a file without
/// rows.
absl::StatusOr<std::unique_ptr<RowSource>> OpenTextRows(const std::string& path, TextForm form, IdKind kind,
                                                        size_t piece_numbers = kRowSourceNumbers);

}  // namespace portico
