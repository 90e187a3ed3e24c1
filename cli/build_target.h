#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/table_build.h"
#include "embedding/shard_writer.h"

namespace portico {

/// What a table is built into: a shard file, or the shards of a group. Nothing of it is there before Finish(). For one
/// thread.
class BuildTarget {
 public:
  virtual ~BuildTarget() = default;

  /// From the first row on; or, with `saved`, from where Save() was called, even where all but the end of Finish() was
  /// done: DATA_LOSS where what lies in folder() is something else; it may begin anew then.
  virtual absl::Status Begin(const TableSpec& spec, const std::vector<ShardWriter::Saved>* saved) = 0;
  virtual absl::Status Add(const ShardWriter::Rows& rows) = 0;
  /// All rows so far are on the disk.
  virtual absl::StatusOr<std::vector<ShardWriter::Saved>> Save() = 0;
  virtual absl::Status Finish() = 0;
  /// Where it lies until then; stays with a checkpoint.
  virtual std::string folder() const = 0;
};

/// FAILED_PRECONDITION where another process builds the same.
absl::StatusOr<std::unique_ptr<BuildTarget>> OpenTarget(const TableBuild& build);

}  // namespace portico
