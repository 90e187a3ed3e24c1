#include "base/claimed_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// How often a folder is made where another process takes it away before it is locked.
constexpr int kTries = 3;
/// Of MakeUniqueFolder().
constexpr size_t kUnique = 6;

/// −1 where there is none, or somebody has it; `unknown` is set where the file system knows no locks.
int Lock(const fs::path& path, bool* unknown) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -1;
  struct stat opened {};
  struct stat there {};
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    *unknown = errno != EWOULDBLOCK && errno != EINTR;
  } else if (fstat(fd, &opened) == 0 && stat(path.c_str(), &there) == 0 && opened.st_dev == there.st_dev &&
             opened.st_ino == there.st_ino) {
    return fd;
  }
  close(fd);
  return -1;
}

bool IsMarked(absl::string_view name, absl::string_view mark) {
  if (name.size() < kUnique) return false;
  const absl::string_view unique = name.substr(name.size() - kUnique);
  return absl::EndsWith(name.substr(0, name.size() - kUnique), mark) &&
         std::all_of(unique.begin(), unique.end(), absl::ascii_isalnum);
}

}  // namespace

absl::StatusOr<ClaimedFolder> ClaimedFolder::Create(absl::string_view prefix) {
  for (int i = 0; i < kTries; ++i) {
    ASSIGN_OR_RETURN(const std::string made, MakeUniqueFolder(prefix));
    bool unknown = false;
    const int fd = Lock(made, &unknown);
    // Where it could not be locked, whoever has it removes it.
    if (fd >= 0 || unknown) return ClaimedFolder(made, fd);
  }
  return absl::UnavailableError(
      absl::StrCat("folder '", prefix, "...': got ", kTries, " cleaned up before they were locked; try again"));
}

std::optional<ClaimedFolder> ClaimedFolder::TryClaim(const fs::path& path) {
  bool unknown = false;
  const int fd = Lock(path, &unknown);
  if (fd < 0) return std::nullopt;
  return ClaimedFolder(path, fd);
}

void ClaimedFolder::RemoveAbandoned(const fs::path& parent, absl::string_view mark) {
  std::error_code error;
  for (fs::directory_iterator entry(parent, error), end; !error && entry != end; entry.increment(error)) {
    if (!IsMarked(entry->path().filename().string(), mark)) continue;
    std::error_code ignored;
    if (const auto abandoned = TryClaim(entry->path()); abandoned.has_value()) fs::remove_all(entry->path(), ignored);
  }
}

ClaimedFolder::~ClaimedFolder() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace portico
