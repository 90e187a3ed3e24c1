#include "base/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/file.h"
#include "base/status_macros.h"

namespace portico {

absl::StatusOr<FileLock> FileLock::Open(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (error) return ErrnoStatus(error.value(), "make the folder of", path);
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  return FileLock(fd);
}

absl::StatusOr<std::optional<FileLock>> FileLock::TryTake(const std::string& path) {
  ASSIGN_OR_RETURN(FileLock lock, Open(path));
  if (flock(lock.fd_, LOCK_EX | LOCK_NB) == 0) return std::optional<FileLock>(std::move(lock));
  if (errno == EWOULDBLOCK) return std::optional<FileLock>();
  return ErrnoStatus(errno, "lock", path);
}

absl::StatusOr<FileLock> FileLock::Take(const std::string& path, const std::function<void()>& on_wait) {
  ASSIGN_OR_RETURN(FileLock lock, Open(path));
  if (flock(lock.fd_, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK && on_wait) on_wait();
  int result;
  do {
    result = flock(lock.fd_, LOCK_EX);
  } while (result != 0 && errno == EINTR);
  if (result != 0) return ErrnoStatus(errno, "lock", path);
  return lock;
}

FileLock::~FileLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace portico
