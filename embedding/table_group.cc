#include "embedding/table_group.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
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

absl::StatusOr<GroupLock> GroupLock::Take(const std::string& group) { return Lock(group, kLock, false); }
absl::StatusOr<GroupLock> GroupLock::Wait(const std::string& group) { return Lock(group, kLock, true); }
absl::StatusOr<GroupLock> GroupLock::TakeRewrite(const std::string& group) { return Lock(group, kRewriteLock, false); }

absl::StatusOr<GroupLock> GroupLock::Lock(const std::string& group, absl::string_view name, bool wait) {
  const std::string path = absl::StrCat(group, name);
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "open lock", path);
  int result = 0;
  do {
    result = flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  const int error = errno;
  if (result == 0) {
    if (name == kLock) RemoveUnfinished(group);
    return GroupLock(fd);
  }
  close(fd);
  if (error != EWOULDBLOCK) return ErrnoStatus(error, "lock", path);
  return absl::FailedPreconditionError(absl::StrCat("table group '", group, "': got another ",
                                                    name == kLock ? "apply, " : "",
                                                    "compact or reshard at work, want it to end first"));
}

GroupLock::GroupLock(GroupLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

GroupLock::~GroupLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace portico
