#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace portico {

/// What `portico table build` makes a shard file of: one table.
struct TableBuild {
  std::string out;
  std::string name;
  /// .npy, or with `raw` numbers of that type and `dim` to a row.
  std::string rows;
  std::string raw;
  size_t dim = 0;
  /// Numbers (.npy, or with `raw` int64); strings, one to a line; both empty: dense ids.
  std::string ids;
  std::string string_ids;
  std::string type = "float32";
  std::string unknown = "error";
  /// .npy of one row; with unknown ids that get a default row.
  std::string default_row;
  uint64_t memory_bytes = uint64_t{256} << 20;
};

/// Rows read of rows in all; called now and then.
using BuildProgress = std::function<void(uint64_t done, uint64_t all)>;

/// Writes the file whole, or not at all; reads its inputs piece by piece. The number of rows.
absl::StatusOr<uint64_t> BuildTable(const TableBuild& build, const BuildProgress& progress);

}  // namespace portico
