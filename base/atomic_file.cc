#include "base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace portico {

AtomicFile::AtomicFile(std::string path, std::string temporary, int fd)
    : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)),
      stays_(other.stays_),
      size_(other.size_) {}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  close(fd_);
  if (!stays_) unlink(temporary_.c_str());
}

absl::StatusOr<AtomicFile> AtomicFile::Create(const std::string& path) {
  static std::atomic<uint64_t> sequence{0};
  std::string temporary = absl::StrCat(path, ".tmp.", getpid(), ".", sequence.fetch_add(1));
  const int fd = open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "create", temporary);
  return AtomicFile(path, std::move(temporary), fd);
}

absl::StatusOr<AtomicFile> AtomicFile::Continue(const std::string& path, const std::string& temporary, uint64_t size) {
  const int fd = open(temporary.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "open", temporary);
  AtomicFile file(path, temporary, fd);
  file.stays_ = true;
  const off_t had = lseek(fd, 0, SEEK_END);
  if (had < 0) return ErrnoStatus(errno, "seek in", temporary);
  if (static_cast<uint64_t>(had) < size)
    return absl::DataLossError(absl::StrCat("file '", temporary, "': got ", had, " bytes, want at least ", size));
  RETURN_IF_ERROR(file.Cut(size));
  return file;
}

absl::Status AtomicFile::Append(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = write(fd_, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return ErrnoStatus(errno, "write", temporary_);
    bytes.remove_prefix(static_cast<size_t>(wrote));
    size_ += static_cast<uint64_t>(wrote);
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> AtomicFile::Align(uint64_t alignment) {
  static constexpr char kZeros[4096] = {};
  PORTICO_CHECK(alignment > 0 && alignment <= sizeof(kZeros));
  RETURN_IF_ERROR(Append({kZeros, static_cast<size_t>((alignment - size_ % alignment) % alignment)}));
  return size_;
}

absl::StatusOr<uint64_t> AtomicFile::Skip(uint64_t alignment) {
  PORTICO_CHECK(alignment > 0);
  const uint64_t to = (size_ + alignment - 1) / alignment * alignment;
  if (lseek(fd_, static_cast<off_t>(to), SEEK_SET) < 0) return ErrnoStatus(errno, "seek in", temporary_);
  return size_ = to;
}

absl::Status AtomicFile::WriteAt(uint64_t offset, absl::string_view bytes) {
  PORTICO_CHECK(offset <= size_);
  while (!bytes.empty()) {
    const ssize_t wrote = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return ErrnoStatus(errno, "write", temporary_);
    bytes.remove_prefix(static_cast<size_t>(wrote));
    offset += static_cast<uint64_t>(wrote);
  }
  return absl::OkStatus();
}

absl::Status AtomicFile::ReadAt(uint64_t offset, char* to, size_t bytes) const {
  PORTICO_CHECK(offset <= size_ && bytes <= size_ - offset);
  while (bytes > 0) {
    const ssize_t got = pread(fd_, to, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "read", temporary_);
    if (got == 0) return absl::DataLossError(absl::StrCat("file '", temporary_, "': ends at ", offset));
    to += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

absl::Status AtomicFile::Cut(uint64_t size) {
  if (ftruncate(fd_, static_cast<off_t>(size)) != 0) return ErrnoStatus(errno, "cut", temporary_);
  if (lseek(fd_, static_cast<off_t>(size), SEEK_SET) < 0) return ErrnoStatus(errno, "seek in", temporary_);
  size_ = size;
  return absl::OkStatus();
}

absl::Status AtomicFile::Sync() { return fsync(fd_) == 0 ? absl::OkStatus() : ErrnoStatus(errno, "fsync", temporary_); }

absl::Status AtomicFile::Commit() {
  RETURN_IF_ERROR(Sync());
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return ErrnoStatus(errno, "rename to", path_);
  close(std::exchange(fd_, -1));
  const std::string parent = std::filesystem::path(path_).parent_path().string();
  const int folder = open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return ErrnoStatus(errno, "open folder of", path_);
  absl::Cleanup close_folder = [folder] { close(folder); };
  if (fsync(folder) != 0) return ErrnoStatus(errno, "fsync folder of", path_);
  return absl::OkStatus();
}

}  // namespace portico
