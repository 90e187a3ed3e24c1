#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "embedding/staging_folder.h"

namespace portico {

/// What `portico table build` makes of one table: a shard file, or the shards of a group.
struct TableBuild {
  /// The file; with `package` the folder of the group, which gets OUT/KofN/VERSION.
  std::string out;
  bool package = false;
  uint32_t shards = 1;
  int64_t version = 1;
  std::string name;
  /// .npy, or with `raw` numbers of that type and `dim` to a row, or with `text` lines of ids and numbers: "csv", "kv".
  std::string rows;
  std::string raw;
  std::string text;
  /// Of `text`: what the ids are; empty: "sparse".
  std::string id_kind;
  size_t dim = 0;
  /// Numbers (.npy, or with `raw` int64); strings, one to a line; both empty: dense ids.
  std::string ids;
  std::string string_ids;
  std::string type = "float32";
  std::string unknown = "error";
  /// .npy of one row; with unknown ids that get a default row.
  std::string default_row;
  uint64_t memory_bytes = uint64_t{256} << 20;
  /// Of rows, from one checkpoint to the next. 0: none, a build that is killed begins anew.
  uint64_t checkpoint_bytes = uint64_t{1} << 30;
  /// For another process that has the folder of unfinished rows: one that cleans up, or another build of the same.
  absl::Duration lock_wait = StagingFolder::kLockWait;
};

/// What was read of what there is, rows or bytes; called now and then.
using BuildProgress = std::function<void(uint64_t done, uint64_t all)>;

/// Called where an earlier build left something: that it is gone on with, or why not.
using BuildNote = std::function<void(const std::string&)>;

/// Writes all of it, or nothing; reads its inputs piece by piece. The number of rows.
///
/// A build that was killed, or ended for want of room, goes on from its last checkpoint where all options are the same
/// and all input files are those they were, by size, times, inode and beginning; otherwise it begins anew. Until then
/// OUT.unfinished, of a group OUT/.unfinished-SHARDS-VERSION, has what there is.
///
/// A shard file OUT is replaced; ALREADY_EXISTS where OUT is any other file, INVALID_ARGUMENT where it is an input.
absl::StatusOr<uint64_t> BuildTable(
    const TableBuild& build, const BuildProgress& progress, const BuildNote& note = [](const std::string&) {});

}  // namespace portico
