#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "embedding/group_staging.h"
#include "embedding/shard_map.h"
#include "embedding/shard_writer.h"
#include "embedding/staging_folder.h"

namespace portico {

/// Writes the tables of a group, row by row, into the files of its shards: GROUP/KofN/VERSION/table.shard, each row
/// where ShardMap has it. Bounded memory: what waits for an index, and 1 to 2 MB for each shard.
///
/// A build of one table that may be killed and gone on with says Options::resumable, and Save() now and then.
///
/// All of it appears, or nothing (GroupStaging), while no update of the group runs. Where the group has shards of
/// another number, these go on serving: `current` says so (embedding/group_shards.h). After an error nothing more may
/// be called. For one thread.
///
///   ASSIGN_OR_RETURN(auto writer, GroupWriter::Create("tables/clicks", {.shards = 4}));
///   RETURN_IF_ERROR(writer->BeginTable({.name = "users", .dim = 64, .row_type = RowType::kInt8}));
///   for (...) RETURN_IF_ERROR(writer->Add({.values = values}));   // dense ids: rows in order
///   RETURN_IF_ERROR(writer->EndTable());
///   RETURN_IF_ERROR(writer->Finish());
///   for (uint32_t k = 0; k < 4; ++k) ...                          // files beside, in writer->StagedFolder(k)
///   RETURN_IF_ERROR(writer->Commit());
class GroupWriter {
 public:
  struct Options {
    uint32_t shards = 1;
    int64_t version = 1;
    /// Of ids that wait for their index, in all shards together.
    size_t memory_bytes = size_t{256} << 20;
    /// Folder() has what a build of that version left that did not come to its end; it stays there with a checkpoint.
    bool resumable = false;
    /// Resumable: how long to wait for another process that has the folder.
    absl::Duration lock_wait = StagingFolder::kLockWait;
    const RowKernels* kernels = &RowKernels::Best();
  };

  /// ALREADY_EXISTS where a shard has that version; FAILED_PRECONDITION where the group has sets of several numbers and
  /// nothing says which serves, and, resumable, where another process builds it.
  static absl::StatusOr<std::unique_ptr<GroupWriter>> Create(const std::string& group, const Options& options);

  absl::Status BeginTable(TableSpec spec);
  /// Opens the first table as it was when Save() gave `saved`. DATA_LOSS where files are not what was written then; it
  /// may begin anew. REQUIRES: resumable, and one of `saved` for each shard.
  absl::Status Continue(TableSpec spec, const std::vector<ShardWriter::Saved>& saved);
  /// The next rows; of a table with dense ids those of the ids behind the ones before.
  absl::Status Add(const ShardWriter::Rows& rows);
  /// All rows so far are on the disk. REQUIRES: resumable, and that the first table is open.
  absl::StatusOr<std::vector<ShardWriter::Saved>> Save();
  /// ALREADY_EXISTS for an id that came twice.
  absl::Status EndTable();
  /// Completes the files, in StagedFolder(). REQUIRES: no table is open.
  absl::Status Finish();
  /// What is to be the version folder of a shard.
  std::string StagedFolder(uint32_t shard) const { return staging_->Folder(shard); }
  /// Where all of it lies until Commit(); its checkpoint, too.
  std::string folder() const { return staging_->root(); }
  /// Puts the version folders in place. REQUIRES: finished.
  absl::Status Commit();

  const ShardMap& map() const { return map_; }

 private:
  /// Rows of a call that go to one shard.
  struct Part {
    std::vector<int64_t> ids;
    std::vector<absl::string_view> strings;
    std::vector<float> values;
  };

  GroupWriter(std::string group, std::unique_ptr<GroupStaging> staging, const Options& options);

  std::string KeepOf(uint32_t shard) const;
  std::string FileOf(uint32_t shard) const;
  ShardWriter::Options OptionsOf(uint32_t shard) const;
  absl::Status MakeFiles();
  /// What a build that was killed put into folders of versions.
  absl::Status ClearFolders() const;
  absl::Status CheckRows(const ShardWriter::Rows& rows) const;
  uint32_t ShardOf(const ShardWriter::Rows& rows, size_t row) const;

  const std::string group_;
  const Options options_;
  const ShardMap map_;
  /// Outlives the files in it.
  const std::unique_ptr<GroupStaging> staging_;
  std::vector<std::unique_ptr<ShardWriter>> shards_;
  // Of the open table:
  std::optional<TableSpec> table_;
  uint64_t rows_ = 0;
  std::vector<Part> parts_;
};

}  // namespace portico
