#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "embedding/staging_folder.h"

namespace portico {

/// Where the version folders of all shards of a group are made before they are there, all or none: a hidden folder of
/// the group, whose name then says that it is whole, and from where version folders are moved. Whatever a process that
/// was killed left there, the next one removes, or, where it was whole, moves. For one thread.
///
///   ASSIGN_OR_RETURN(auto staging, GroupStaging::Create("tables/clicks", 4));
///   for (uint32_t k = 0; k < 4; ++k) ...                // files, each synced, in staging->Folder(k)
///   RETURN_IF_ERROR(staging->Commit(7));                // tables/clicks/0of4/7 and so on
class GroupStaging {
 public:
  /// Makes the group's folder where it is missing, and cleans up first.
  static absl::StatusOr<std::unique_ptr<GroupStaging>> Create(const std::string& group, uint32_t shards);
  /// The same for a build of that version that may go on where one was killed: what that left is there.
  /// FAILED_PRECONDITION where another process builds it all the `wait` long.
  static absl::StatusOr<std::unique_ptr<GroupStaging>> Continue(const std::string& group, uint32_t shards,
                                                                int64_t version, absl::Duration wait);
  /// Removes all that was not put in place, unless there is a checkpoint.
  ~GroupStaging();
  GroupStaging(const GroupStaging&) = delete;
  GroupStaging& operator=(const GroupStaging&) = delete;

  /// What is to be the version folder of a shard; it has no folders.
  std::string Folder(uint32_t shard) const;
  /// Where those are; files beside them go with it.
  std::string root() const { return staging_->path().string(); }
  /// REQUIRES: the group's lock (GroupLock) is held. ALREADY_EXISTS where a shard has that version. From a point on all
  /// of it is there even where this fails, once whoever comes next has cleaned up.
  absl::Status Commit(int64_t version);
  /// ALREADY_EXISTS where a shard has that version.
  absl::Status CheckFree(int64_t version) const;

  /// Moves what killed processes left whole, removes the rest but what a checkpoint is of; leaves alone what living
  /// ones use.
  static absl::Status CleanUp(const std::filesystem::path& group);

 private:
  GroupStaging(std::filesystem::path group, uint32_t shards) : group_(std::move(group)), shards_(shards) {}

  absl::Status MakeGroup();
  absl::Status MakeFolders();
  absl::Status MakeShardFolders();

  const std::filesystem::path group_;
  const uint32_t shards_;
  /// Whether there was no such folder before.
  bool made_group_ = false;
  /// Folders that got one, where there were none on the way to the group's.
  std::vector<std::filesystem::path> grown_;
  std::optional<StagingFolder> staging_;
};

}  // namespace portico
