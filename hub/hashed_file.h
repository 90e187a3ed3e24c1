#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "base/digest.h"

namespace portico {

/// Size and SHA-256 of a file's content.
struct FileContent {
  uint64_t bytes = 0;
  Digest sha256;

  friend bool operator==(const FileContent&, const FileContent&) = default;
};

/// Is told how many more bytes have been read; may be null.
using OnBytes = std::function<void(uint64_t)>;

/// Reads the whole file. INVALID_ARGUMENT for a symbolic link and what is no plain file.
absl::StatusOr<FileContent> HashFile(const std::string& path, const OnBytes& on_bytes = nullptr);
/// Copies it to `to`, whole or not at all, and says what was copied.
absl::StatusOr<FileContent> CopyHashed(const std::string& path, const std::string& to,
                                       const OnBytes& on_bytes = nullptr);

}  // namespace portico
