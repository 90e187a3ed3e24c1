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
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  absl::Status Append(absl::string_view bytes);
  /// Zeros up to the next multiple of `alignment` (at most 4096). Returns the position reached.
  absl::StatusOr<uint64_t> Align(uint64_t alignment);
  /// Syncs file and folder; last.
  absl::Status Commit();

 private:
  AtomicFile(std::string path, std::string temporary, int fd);

  std::string path_;
  std::string temporary_;
  int fd_;
  uint64_t size_ = 0;
};

}  // namespace portico
