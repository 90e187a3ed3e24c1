#include "embedding/table_group.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "embedding/group_shards.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

constexpr absl::string_view kLock = "/.lock";
constexpr absl::string_view kRewriteLock = "/.compact";

/// What a process that was killed left of a file 'current'. REQUIRES: the lock is held.
void RemoveUnfinished(const std::string& group) {
  std::vector<fs::path> left;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(group, ignored)) {
    if (absl::StartsWith(entry.path().filename().string(), absl::StrCat(kCurrentShardsFile, ".tmp.")))
      left.push_back(entry.path());
  }
  for (const fs::path& path : left) fs::remove(path, ignored);
}

/// A lock's file would make the folder.
absl::Status CheckThere(const std::string& group) {
  std::error_code error;
  if (fs::is_directory(group, error)) return absl::OkStatus();
  return ErrnoStatus(error ? error.value() : ENOTDIR, "open table group", group);
}

}  // namespace

std::string VersionFolderOf(const std::string& group, uint32_t shard, uint32_t shards, int64_t version) {
  return absl::StrCat(ShardPathOf(group, shard, shards), "/", version);
}

absl::StatusOr<std::vector<int64_t>> WholeVersions(const std::string& group, uint32_t shards) {
  std::vector<int64_t> whole;
  for (uint32_t shard = 0; shard < shards; ++shard) {
    std::vector<int64_t> versions;
    std::error_code error;
    const std::string folder = ShardPathOf(group, shard, shards);
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      int64_t version = 0;
      const std::string name = entry.path().filename().string();
      if (absl::SimpleAtoi(name, &version) && version > 0 && absl::StrCat(version) == name &&
          fs::exists(entry.path() / "model.onnx"))
        versions.push_back(version);
    }
    if (error == std::errc::no_such_file_or_directory) return std::vector<int64_t>();
    if (error) return ErrnoStatus(error.value(), "folder", folder);
    std::sort(versions.begin(), versions.end());
    std::vector<int64_t> both;
    std::set_intersection(whole.begin(), whole.end(), versions.begin(), versions.end(), std::back_inserter(both));
    whole = shard == 0 ? versions : both;
  }
  return whole;
}

absl::StatusOr<GroupLock> GroupLock::Take(const std::string& group) {
  ASSIGN_OR_RETURN(GroupLock lock, TryLock(group, kLock, "apply, compact or reshard"));
  RemoveUnfinished(group);
  return lock;
}

absl::StatusOr<GroupLock> GroupLock::Wait(const std::string& group) {
  RETURN_IF_ERROR(CheckThere(group));
  ASSIGN_OR_RETURN(FileLock lock, FileLock::Take(absl::StrCat(group, kLock)));
  RemoveUnfinished(group);
  return GroupLock(std::move(lock));
}

absl::StatusOr<GroupLock> GroupLock::TakeRewrite(const std::string& group) {
  return TryLock(group, kRewriteLock, "compact or reshard");
}

absl::StatusOr<GroupLock> GroupLock::TryLock(const std::string& group, absl::string_view name,
                                             absl::string_view holder) {
  RETURN_IF_ERROR(CheckThere(group));
  ASSIGN_OR_RETURN(std::optional<FileLock> lock, FileLock::TryTake(absl::StrCat(group, name)));
  if (lock.has_value()) return GroupLock(*std::move(lock));
  return absl::FailedPreconditionError(
      absl::StrCat("table group '", group, "': got another ", holder, " at work, want it to end first"));
}

}  // namespace portico
