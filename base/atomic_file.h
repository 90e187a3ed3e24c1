#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// A file written bit by bit that appears under its name whole, or not at all: bytes go to a temporary file beside it,
/// which Commit() puts in place. Without Commit() nothing stays. For one thread. (Small files: WriteFileAtomically().)
class AtomicFile {
 public:
  static absl::StatusOr<AtomicFile> Create(const std::string& path);
  /// The same by way of the file `temporary`, on the same file system, which stays where there is no Commit(). It is
  /// cut to its first `size` bytes, behind which Append() goes on; DATA_LOSS where it has fewer.
  static absl::StatusOr<AtomicFile> Continue(const std::string& path, const std::string& temporary, uint64_t size);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  absl::Status Append(absl::string_view bytes);
  /// Zeros up to the next multiple of `alignment` (at most 4096). Returns the position reached.
  absl::StatusOr<uint64_t> Align(uint64_t alignment);
  /// Leaves a hole, which reads as zeros and takes no room, up to the next multiple of `alignment`. Returns the
  /// position reached. What is appended last must be more than a hole.
  absl::StatusOr<uint64_t> Skip(uint64_t alignment);
  /// Writes over what stands at `offset`; behind the bytes appended so far, Append() writes over that. REQUIRES: so
  /// many bytes as `offset` says were appended, or skipped.
  absl::Status WriteAt(uint64_t offset, absl::string_view bytes);
  /// Reads what was appended. REQUIRES: that it was.
  absl::Status ReadAt(uint64_t offset, char* to, size_t bytes) const;
  /// Takes back all but the first `size` bytes.
  absl::Status Cut(uint64_t size);
  /// What was written so far is on the disk.
  absl::Status Sync();
  /// Syncs file and folder; last.
  absl::Status Commit();
  /// Bytes appended so far.
  uint64_t size() const { return size_; }
  /// What it will be called.
  const std::string& path() const { return path_; }

 private:
  AtomicFile(std::string path, std::string temporary, int fd);

  std::string path_;
  std::string temporary_;
  int fd_;
  /// Of the temporary file, without Commit().
  bool stays_ = false;
  uint64_t size_ = 0;
};

}  // namespace portico
