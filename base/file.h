#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"

namespace portico {

/// The whole file. NOT_FOUND, PERMISSION_DENIED, or INVALID_ARGUMENT when longer than `max_bytes` or not a plain file.
absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes);

/// Writes a temporary file beside `path`, fsyncs it, renames it and fsyncs the folder: `path` is the old file or the
/// whole new one, whatever happens.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view content);

/// Makes a new folder, `prefix` and six more characters, that only its owner may enter; its path. Whoever asks for it
/// removes it.
absl::StatusOr<std::string> MakeUniqueFolder(absl::string_view prefix);
/// The same where temporary files are (TMPDIR, /tmp); `name` is how its own name begins.
absl::StatusOr<std::string> MakeTemporaryFolder(absl::string_view name);

/// A file mapped read-only. Shared through Ref; unmapped with the last one. Reading past what was mapped is impossible,
/// but a file that shrinks while mapped raises SIGBUS: packages are immutable.
class MappedFile final : public TensorOrigin {
 public:
  static absl::StatusOr<Ref<MappedFile>> Open(const std::string& path);
  ~MappedFile() override;
  absl::string_view bytes() const { return {data_, size_}; }

 private:
  MappedFile(const char* data, size_t size) : TensorOrigin(0), data_(data), size_(size) {}
  const char* const data_;
  const size_t size_;
};

/// The status of a failed system call: code by errno, message "what 'path': strerror".
absl::Status ErrnoStatus(int error, absl::string_view what, absl::string_view path);

}  // namespace portico
