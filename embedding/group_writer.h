#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "embedding/group_staging.h"
#include "embedding/shard_map.h"
#include "embedding/shard_writer.h"

namespace portico {

/// Writes the tables of a group, row by row, into the files of its shards: GROUP/KofN/VERSION/table.shard, each row
/// where ShardMap has it. Bounded memory: what waits for an index, and 1 to 2 MB for each shard.
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
    const RowKernels* kernels = &RowKernels::Best();
  };

  /// ALREADY_EXISTS where a shard has that version.
  static absl::StatusOr<std::unique_ptr<GroupWriter>> Create(const std::string& group, const Options& options);

  absl::Status BeginTable(TableSpec spec);
  /// The next rows; of a table with dense ids those of the ids behind the ones before.
  absl::Status Add(const ShardWriter::Rows& rows);
  /// ALREADY_EXISTS for an id that came twice.
  absl::Status EndTable();
  /// Completes the files, in StagedFolder(). REQUIRES: no table is open.
  absl::Status Finish();
  /// What is to be the version folder of a shard.
  std::string StagedFolder(uint32_t shard) const { return staging_->Folder(shard); }
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
