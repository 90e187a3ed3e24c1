#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/file_lock.h"

namespace portico {

// A table group on disk: GROUP/KofN/VERSION, written by GroupStaging, so that a version that all shards have is whole.
// Which set of shards counts: embedding/group_shards.h.

/// The versions that every shard of the set has, rising.
absl::StatusOr<std::vector<int64_t>> WholeVersions(const std::string& group, uint32_t shards);
/// GROUP/KofN/VERSION.
std::string VersionFolderOf(const std::string& group, uint32_t shard, uint32_t shards, int64_t version);

/// Held by whoever writes the next version of a group: one at a time, in whatever process. Gone with its process.
class GroupLock {
 public:
  /// FAILED_PRECONDITION where somebody has it. NOT_FOUND, as of all of these, without the group's folder.
  static absl::StatusOr<GroupLock> Take(const std::string& group);
  /// Waits until it is free.
  static absl::StatusOr<GroupLock> Wait(const std::string& group);
  /// Another lock, held through all of a compact or reshard, which updates do not wait for. FAILED_PRECONDITION where
  /// somebody has it.
  static absl::StatusOr<GroupLock> TakeRewrite(const std::string& group);

 private:
  static absl::StatusOr<GroupLock> TryLock(const std::string& group, absl::string_view name, absl::string_view holder);
  explicit GroupLock(FileLock lock) : lock_(std::move(lock)) {}
  FileLock lock_;
};

}  // namespace portico
