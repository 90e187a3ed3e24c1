#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// Lines of a file, read piece by piece, without what ends them (LF, or CR LF); none is longer than an id and the
/// numbers of a row may be. For one thread.
class TextLines {
 public:
  static absl::StatusOr<TextLines> Open(const std::string& path);

  /// False at the end. The line lives until the next call. INVALID_ARGUMENT for one that is too long.
  absl::StatusOr<bool> Next(absl::string_view* line);
  /// INVALID_ARGUMENT, with file and line.
  absl::Status Wrong(absl::string_view what) const;
  /// Bytes: of the lines so far, and of the file.
  uint64_t done() const { return read_ - (buffer_.size() - begin_); }
  uint64_t bytes() const { return bytes_; }
  /// How many lines that were.
  uint64_t count() const { return number_; }
  /// Goes on behind so many bytes, which are so many lines. FAILED_PRECONDITION where there are not as many bytes.
  absl::Status Seek(uint64_t bytes, uint64_t lines);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  absl::Status Read();

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  std::string buffer_;
  /// Of the first line that was not handed out yet, and how much of it has no end.
  size_t begin_ = 0;
  size_t searched_ = 0;
  bool at_end_ = false;
  uint64_t number_ = 0;
  uint64_t read_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace portico
