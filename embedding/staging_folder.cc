#include "embedding/staging_folder.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "embedding/build_checkpoint.h"
#include "embedding/group_shards.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// Between two tries of a lock that another process has.
constexpr absl::Duration kPause = absl::Milliseconds(20);

/// "N.rows" and the like.
bool IsPartFile(absl::string_view name) {
  const size_t dot = name.find('.');
  if (dot == 0 || dot == absl::string_view::npos) return false;
  const absl::string_view what = name.substr(dot + 1);
  return std::all_of(name.begin(), name.begin() + dot, absl::ascii_isdigit) &&
         (what == "rows" || what == "strings" || what == "whole");
}

/// Whether a build writes something of that name and kind.
bool IsOfABuild(const fs::directory_entry& entry) {
  const std::string name = entry.path().filename().string();
  std::error_code error;
  const fs::file_status status = entry.symlink_status(error);
  if (fs::is_regular_file(status)) {
    return name == kCheckpointFile || absl::StartsWith(name, absl::StrCat(kCheckpointFile, ".tmp.")) ||
           IsPartFile(name);
  }
  uint32_t shard = 0, shards = 0;
  if (!fs::is_directory(status) || !IsShardFolder(name, &shard, &shards)) return false;
  for (fs::directory_iterator inner(entry.path(), error), end; !error && inner != end; inner.increment(error)) {
    if (inner->is_directory(error)) return false;
  }
  return !error;
}

absl::Status CheckOfBuilds(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (IsOfABuild(*entry)) continue;
    return absl::FailedPreconditionError(absl::StrCat("folder '", folder.string(), "': got '",
                                                      entry->path().filename().string(),
                                                      "' in it, want what builds write alone; move it elsewhere"));
  }
  return error ? ErrnoStatus(error.value(), "list folder", folder.string()) : absl::OkStatus();
}

}  // namespace

std::optional<StagingFolder> StagingFolder::TryLock(const fs::path& path) {
  std::optional<ClaimedFolder> claim = ClaimedFolder::TryClaim(path);
  if (!claim.has_value()) return std::nullopt;
  return StagingFolder(*std::move(claim));
}

absl::StatusOr<StagingFolder> StagingFolder::Create(const std::string& prefix) {
  ASSIGN_OR_RETURN(ClaimedFolder claim, ClaimedFolder::Create(prefix));
  return StagingFolder(std::move(claim));
}

absl::StatusOr<StagingFolder> StagingFolder::Open(const std::string& path, absl::Duration wait) {
  const absl::Time end = absl::Now() + wait;
  while (true) {
    std::error_code error;
    fs::create_directory(path, error);
    if (error) return ErrnoStatus(error.value(), "folder", path);
    if (std::optional<StagingFolder> locked = TryLock(path)) {
      RETURN_IF_ERROR(CheckOfBuilds(path));
      return *std::move(locked);
    }
    if (absl::Now() >= end) break;
    absl::SleepFor(kPause);
  }
  return absl::FailedPreconditionError(
      absl::StrCat("folder '", path, "': got another build at work in it, want it to end first"));
}

StagingFolder::~StagingFolder() {
  if (stays_) return;
  std::error_code ignored;
  if (!fs::exists(path_ / std::string(kCheckpointFile), ignored) && CheckOfBuilds(path_).ok())
    fs::remove_all(path_, ignored);
}

absl::Status StagingFolder::MoveTo(const fs::path& path) {
  if (rename(path_.c_str(), path.c_str()) != 0) return ErrnoStatus(errno, "renaming to", path.string());
  path_ = path;
  Stay();
  return absl::OkStatus();
}

}  // namespace portico
