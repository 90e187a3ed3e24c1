#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// A folder that one process has as long as the object is there: locked, and let go by the system where the process is
/// killed, so that what killed ones left can be told from what is being worked on. The folder stays. For one thread.
class ClaimedFolder {
 public:
  /// A new one: `prefix` and six more characters. Where the file system knows no locks it is nobody's, and
  /// RemoveAbandoned() leaves it alone.
  static absl::StatusOr<ClaimedFolder> Create(absl::string_view prefix);
  /// One that is there; nothing where another process has it, or it has gone.
  static std::optional<ClaimedFolder> TryClaim(const std::filesystem::path& path);
  /// Removes the folders in `parent` that are called anything that ends in `mark` and six more characters, and that no
  /// process has: what Create() made for processes that were killed. Those that this user may not remove stay.
  static void RemoveAbandoned(const std::filesystem::path& parent, absl::string_view mark);

  ClaimedFolder(ClaimedFolder&& other) noexcept : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}
  ClaimedFolder& operator=(ClaimedFolder&&) = delete;
  ~ClaimedFolder();

  /// As it was claimed.
  const std::filesystem::path& path() const { return path_; }

 private:
  ClaimedFolder(std::filesystem::path path, int fd) : path_(std::move(path)), fd_(fd) {}

  std::filesystem::path path_;
  int fd_;
};

}  // namespace portico
