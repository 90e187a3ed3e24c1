#include "embedding/group_staging.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

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

/// How often a folder is made where another process's CleanUp() takes it before it is locked.
constexpr int kTries = 3;

/// Opened and locked; −1 where somebody else has it, or it is gone.
int LockFolder(const fs::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return -1;
  struct stat opened {};
  struct stat there {};
  if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &opened) == 0 && stat(folder.c_str(), &there) == 0 &&
      opened.st_dev == there.st_dev && opened.st_ino == there.st_ino) {
    return fd;
  }
  close(fd);
  return -1;
}

absl::Status Rename(const fs::path& from, const fs::path& to) {
  if (rename(from.c_str(), to.c_str()) != 0) return ErrnoStatus(errno, "renaming to", to.string());
  return absl::OkStatus();
}

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
  std::error_code error;
  fs::remove(ready, error);
  return error ? ErrnoStatus(error.value(), "folder", ready.string()) : absl::OkStatus();
}

}  // namespace

absl::Status GroupStaging::CleanUp(const fs::path& group) {
  std::vector<fs::path> hidden;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(group, error)) {
    const std::string name = entry.path().filename().string();
    if (absl::StartsWith(name, kBuilding) || absl::StartsWith(name, kReady)) hidden.push_back(entry.path());
  }
  if (error) return ErrnoStatus(error.value(), "folder", group.string());
  for (const fs::path& folder : hidden) {
    const int fd = LockFolder(folder);
    if (fd < 0) continue;
    absl::Status status;
    const std::string name = folder.filename().string();
    const std::vector<std::string> words =
        absl::StrSplit(absl::string_view(name).substr(absl::StartsWith(name, kReady) ? kReady.size() : 0), '-');
    uint32_t shards = 0;
    int64_t version = 0;
    if (!absl::StartsWith(name, kReady)) {
      fs::remove_all(folder, error);
    } else if (words.size() == 2 && absl::SimpleAtoi(words[0], &shards) && absl::SimpleAtoi(words[1], &version) &&
               shards <= ShardMap::kMaxShards) {
      status = MoveShards(folder, group, shards, version);
    }
    close(fd);
    RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<GroupStaging>> GroupStaging::Create(const std::string& group, uint32_t shards) {
  if (shards < 1 || shards > ShardMap::kMaxShards)
    return absl::InvalidArgumentError(absl::StrCat("shards: got ", shards, ", want 1 to ", ShardMap::kMaxShards));
  auto staging = std::unique_ptr<GroupStaging>(new GroupStaging(group, shards));
  std::error_code error;
  // A name that ends in '/' has no other folder in it.
  fs::path missing = fs::absolute(group, error).lexically_normal();
  if (!missing.has_filename()) missing = missing.parent_path();
  for (; !error && !fs::exists(missing, error) && missing.has_relative_path(); missing = missing.parent_path())
    staging->grown_.push_back(missing.parent_path());
  staging->made_group_ = fs::create_directories(group, error);
  if (error) return ErrnoStatus(error.value(), "folder", group);
  RETURN_IF_ERROR(CleanUp(staging->group_));
  RETURN_IF_ERROR(staging->MakeStaging());
  for (uint32_t shard = 0; shard < shards; ++shard) {
    if (!fs::create_directory(staging->Folder(shard), error))
      return ErrnoStatus(error.value(), "folder", staging->Folder(shard));
  }
  return staging;
}

absl::Status GroupStaging::MakeStaging() {
  for (int i = 0; i < kTries; ++i) {
    ASSIGN_OR_RETURN(const std::string made, MakeUniqueFolder(absl::StrCat(group_.string(), "/", kBuilding)));
    staging_fd_ = LockFolder(made);
    if (staging_fd_ >= 0) {
      staging_ = made;
      return absl::OkStatus();
    }
    // Whoever has it removes it.
  }
  return absl::UnavailableError(absl::StrCat("folder '", group_.string(), "': got ", kTries, " folders '", kBuilding,
                                             "...' cleaned up before they were locked; try again"));
}

GroupStaging::~GroupStaging() {
  std::error_code ignored;
  if (!staging_.empty()) fs::remove_all(staging_, ignored);
  if (staging_fd_ >= 0) close(staging_fd_);
  // Only where it is empty.
  if (made_group_) fs::remove(group_, ignored);
}

std::string GroupStaging::Folder(uint32_t shard) const { return (staging_ / ShardFolder(shard, shards_)).string(); }

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
  RETURN_IF_ERROR(SyncFolder(staging_.string()));
  // What may fail for want of space comes before there is no way back.
  RETURN_IF_ERROR(MakeShardFolders());
  const fs::path ready = group_ / absl::StrCat(kReady, shards_, "-", version);
  RETURN_IF_ERROR(Rename(staging_, ready));
  staging_.clear();
  // From here on all of it is there: whoever comes next goes on where this one stops.
  made_group_ = false;
  for (const fs::path& folder : grown_) RETURN_IF_ERROR(SyncFolder(folder.string()));
  RETURN_IF_ERROR(SyncFolder(group_.string()));
  return MoveShards(ready, group_, shards_, version);
}

}  // namespace portico
