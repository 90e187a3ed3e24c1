#include "embedding/group_staging.h"

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/sync_folder.h"
#include "embedding/group_shards.h"
#include "embedding/shard_map.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// Being written: "<prefix>XXXXXX".
constexpr absl::string_view kBuilding = ".building-";
/// Whole, to be moved: "<prefix>SHARDS-VERSION".
constexpr absl::string_view kReady = ".ready-";

/// May be gone on with, "<prefix>SHARDS-VERSION".
constexpr absl::string_view kUnfinished = ".unfinished-";

/// Moves what is left in a whole set of `shards` version folders to where it belongs.
absl::Status MoveShards(const fs::path& ready, const fs::path& group, uint32_t shards, int64_t version) {
  for (uint32_t shard = 0; shard < shards; ++shard) {
    const std::string name = ShardFolder(shard, shards);
    std::error_code error;
    if (!fs::exists(ready / name, error)) continue;  // moved before
    fs::create_directories(group / name, error);
    if (error) return ErrnoStatus(error.value(), "folder", (group / name).string());
    const fs::path to = group / name / absl::StrCat(version);
    if (rename((ready / name).c_str(), to.c_str()) != 0) {
      if (errno != EEXIST && errno != ENOTEMPTY) return ErrnoStatus(errno, "renaming to", to.string());
      return absl::AlreadyExistsError(absl::StrCat("folder '", to.string(), "': got a version there, want none, for '",
                                                   (ready / name).string(),
                                                   "', which is whole, goes there; remove one of the two"));
    }
    RETURN_IF_ERROR(SyncFolder((group / name).string()));
  }
  RETURN_IF_ERROR(SyncFolder(group.string()));
  // What a build was to go on from.
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(ready, error)) files.push_back(entry.path());
  for (const fs::path& file : files) fs::remove(file, error);
  fs::remove(ready, error);
  return error ? ErrnoStatus(error.value(), "folder", ready.string()) : absl::OkStatus();
}

}  // namespace

absl::Status GroupStaging::CleanUp(const fs::path& group) {
  std::vector<fs::path> hidden;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(group, error)) {
    const std::string name = entry.path().filename().string();
    for (const absl::string_view prefix : {kBuilding, kUnfinished, kReady}) {
      if (absl::StartsWith(name, prefix)) hidden.push_back(entry.path());
    }
  }
  if (error) return ErrnoStatus(error.value(), "folder", group.string());
  for (const fs::path& folder : hidden) {
    // Removed with the object, but what is whole or has a checkpoint.
    std::optional<StagingFolder> left = StagingFolder::TryLock(folder);
    const std::string name = folder.filename().string();
    if (!left.has_value() || !absl::StartsWith(name, kReady)) continue;
    left->Stay();
    const std::vector<std::string> words = absl::StrSplit(absl::string_view(name).substr(kReady.size()), '-');
    uint32_t shards = 0;
    int64_t version = 0;
    if (words.size() == 2 && absl::SimpleAtoi(words[0], &shards) && absl::SimpleAtoi(words[1], &version) &&
        shards <= ShardMap::kMaxShards) {
      RETURN_IF_ERROR(MoveShards(folder, group, shards, version));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<GroupStaging>> GroupStaging::Create(const std::string& group, uint32_t shards) {
  auto staging = std::unique_ptr<GroupStaging>(new GroupStaging(group, shards));
  RETURN_IF_ERROR(staging->MakeGroup());
  ASSIGN_OR_RETURN(StagingFolder folder, StagingFolder::Create(absl::StrCat(group, "/", kBuilding)));
  staging->staging_.emplace(std::move(folder));
  RETURN_IF_ERROR(staging->MakeFolders());
  return staging;
}

absl::StatusOr<std::unique_ptr<GroupStaging>> GroupStaging::Continue(const std::string& group, uint32_t shards,
                                                                     int64_t version, absl::Duration wait) {
  auto staging = std::unique_ptr<GroupStaging>(new GroupStaging(group, shards));
  RETURN_IF_ERROR(staging->MakeGroup());
  ASSIGN_OR_RETURN(StagingFolder folder,
                   StagingFolder::Open(absl::StrCat(group, "/", kUnfinished, shards, "-", version), wait));
  staging->staging_.emplace(std::move(folder));
  RETURN_IF_ERROR(staging->MakeFolders());
  return staging;
}

absl::Status GroupStaging::MakeGroup() {
  if (shards_ < 1 || shards_ > ShardMap::kMaxShards)
    return absl::InvalidArgumentError(absl::StrCat("shards: got ", shards_, ", want 1 to ", ShardMap::kMaxShards));
  std::error_code error;
  // A name that ends in '/' has no other folder in it.
  fs::path missing = fs::absolute(group_, error).lexically_normal();
  if (!missing.has_filename()) missing = missing.parent_path();
  for (; !error && !fs::exists(missing, error) && missing.has_relative_path(); missing = missing.parent_path())
    grown_.push_back(missing.parent_path());
  made_group_ = fs::create_directories(group_, error);
  if (error) return ErrnoStatus(error.value(), "folder", group_.string());
  return CleanUp(group_);
}

absl::Status GroupStaging::MakeFolders() {
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    std::error_code error;
    fs::create_directory(Folder(shard), error);
    if (error) return ErrnoStatus(error.value(), "folder", Folder(shard));
  }
  return absl::OkStatus();
}

GroupStaging::~GroupStaging() {
  staging_.reset();
  std::error_code ignored;
  // Only where it is empty.
  if (made_group_) fs::remove(group_, ignored);
}

std::string GroupStaging::Folder(uint32_t shard) const {
  return (staging_->path() / ShardFolder(shard, shards_)).string();
}

absl::Status GroupStaging::CheckFree(int64_t version) const {
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    const fs::path folder = group_ / ShardFolder(shard, shards_) / absl::StrCat(version);
    std::error_code error;
    if (fs::exists(fs::symlink_status(folder, error))) {
      return absl::AlreadyExistsError(absl::StrCat(
          "folder '", folder.string(), "': got a shard there, want none; remove it, or choose another version"));
    }
  }
  return absl::OkStatus();
}

absl::Status GroupStaging::MakeShardFolders() {
  std::vector<fs::path> made;
  std::error_code error;
  for (uint32_t shard = 0; shard < shards_ && !error; ++shard) {
    const fs::path folder = group_ / ShardFolder(shard, shards_);
    if (fs::create_directory(folder, error)) made.push_back(folder);
  }
  if (!error) return absl::OkStatus();
  std::error_code ignored;
  for (const fs::path& folder : made) fs::remove(folder, ignored);
  return ErrnoStatus(error.value(), "make the folders of shards in", group_.string());
}

absl::Status GroupStaging::Commit(int64_t version) {
  RETURN_IF_ERROR(CheckFree(version));
  for (uint32_t shard = 0; shard < shards_; ++shard) RETURN_IF_ERROR(SyncFolder(Folder(shard)));
  RETURN_IF_ERROR(SyncFolder(root()));
  // What may fail for want of space comes before there is no way back.
  RETURN_IF_ERROR(MakeShardFolders());
  const fs::path ready = group_ / absl::StrCat(kReady, shards_, "-", version);
  RETURN_IF_ERROR(staging_->MoveTo(ready));
  // From here on all of it is there: whoever comes next goes on where this one stops.
  made_group_ = false;
  for (const fs::path& folder : grown_) RETURN_IF_ERROR(SyncFolder(folder.string()));
  RETURN_IF_ERROR(SyncFolder(group_.string()));
  return MoveShards(ready, group_, shards_, version);
}

}  // namespace portico
