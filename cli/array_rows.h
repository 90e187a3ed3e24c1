#pragma once

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "cli/row_source.h"
#include "cli/table_build.h"

namespace portico {

/// Rows of an array in a file, with ids of another file or none; some `piece_numbers` are read at a time.
/// INVALID_ARGUMENT where files and options do not fit together.
absl::StatusOr<std::unique_ptr<RowSource>> OpenArrayRows(const TableBuild& build, size_t piece_numbers);

}  // namespace portico
