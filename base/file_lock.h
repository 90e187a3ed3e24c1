#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace portico {

/// A file that one process at a time holds; the system lets go of it where the process is killed. The file stays.
class FileLock {
 public:
  /// Blocks until nobody else holds it; `on_wait` is called once where somebody does. Folders in front of `path` are
  /// made. Also excludes other FileLocks of this process.
  static absl::StatusOr<FileLock> Take(const std::string& path, const std::function<void()>& on_wait = nullptr);
  /// The same without waiting: nothing where somebody else holds it.
  static absl::StatusOr<std::optional<FileLock>> TryTake(const std::string& path);
  FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  static absl::StatusOr<FileLock> Open(const std::string& path);
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace portico
