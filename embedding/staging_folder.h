#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/claimed_folder.h"

namespace portico {

/// A folder that one process at a time writes into: locked as long as the object is there, and removed with it, unless
/// it has a checkpoint (embedding/build_checkpoint.h), or anything that builds do not write: they write files
/// `checkpoint`, N.rows, N.strings and N.whole, and folders KofN of files. The system lets go of the lock where a
/// process is killed. For one thread.
class StagingFolder {
 public:
  /// Whoever cleans up has a folder's lock for as long as it takes to remove it.
  static constexpr absl::Duration kLockWait = absl::Seconds(5);

  /// A new one: `prefix` and six more characters.
  static absl::StatusOr<StagingFolder> Create(const std::string& prefix);
  /// That of this name, with what is in it; made where it is missing. FAILED_PRECONDITION where another process has it
  /// all the `wait` long, or where something is in it that builds do not write.
  static absl::StatusOr<StagingFolder> Open(const std::string& path, absl::Duration wait = kLockWait);
  /// One that is there; nothing where another process has it, or it has gone.
  static std::optional<StagingFolder> TryLock(const std::filesystem::path& path);
  StagingFolder(StagingFolder&& other) noexcept
      : claim_(std::move(other.claim_)), path_(std::move(other.path_)), stays_(std::exchange(other.stays_, true)) {}
  StagingFolder& operator=(StagingFolder&&) = delete;
  ~StagingFolder();

  const std::filesystem::path& path() const { return path_; }
  /// It is not removed with the object; its lock goes all the same.
  void Stay() { stays_ = true; }
  /// Gives it another name, under which it stays.
  absl::Status MoveTo(const std::filesystem::path& path);

 private:
  explicit StagingFolder(ClaimedFolder claim) : claim_(std::move(claim)), path_(claim_.path()) {}

  /// Goes last: until then nobody else has it.
  ClaimedFolder claim_;
  std::filesystem::path path_;
  bool stays_ = false;
};

}  // namespace portico
