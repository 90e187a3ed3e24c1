#include "cli/text_lines.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "embedding/table_spec.h"

namespace portico {
namespace {

constexpr size_t kReadBytes = 1 << 20;
/// Of a line: an id and kMaxDim numbers in 32 bytes each.
constexpr size_t kMaxLineBytes = 2 * kMaxIdBytes + 32 * kMaxDim;

}  // namespace

absl::StatusOr<TextLines> TextLines::Open(const std::string& path) {
  TextLines lines;
  lines.path_ = path;
  lines.file_.reset(std::fopen(path.c_str(), "rbe"));
  if (lines.file_ == nullptr) return ErrnoStatus(errno, "open", path);
  if (std::fseek(lines.file_.get(), 0, SEEK_END) != 0) return ErrnoStatus(errno, "seek in", path);
  lines.bytes_ = static_cast<uint64_t>(std::max(0L, std::ftell(lines.file_.get())));
  std::rewind(lines.file_.get());
  return lines;
}

absl::StatusOr<bool> TextLines::Next(absl::string_view* line) {
  while (true) {
    const absl::string_view left = absl::string_view(buffer_).substr(begin_);
    size_t end = left.find('\n', searched_);
    if (end == absl::string_view::npos && at_end_ && !left.empty()) end = left.size();
    if (end != absl::string_view::npos) {
      *line = left.substr(0, end);
      begin_ += std::min(end + 1, left.size());
      searched_ = 0;
      ++number_;
      absl::ConsumeSuffix(line, "\r");
      return true;
    }
    if (at_end_) return false;
    if (left.size() > kMaxLineBytes)
      return absl::InvalidArgumentError(absl::StrCat(path_, ":", number_ + 1, ": got a line of more than ",
                                                     kMaxLineBytes, " bytes, want an id and at most ", kMaxDim,
                                                     " numbers"));
    searched_ = left.size();
    RETURN_IF_ERROR(Read());
  }
}

absl::Status TextLines::Seek(uint64_t bytes, uint64_t lines) {
  if (bytes > bytes_)
    return absl::FailedPreconditionError(absl::StrCat(path_, ": got ", bytes_, " bytes, want at least ", bytes));
  if (std::fseek(file_.get(), static_cast<long>(bytes), SEEK_SET) != 0) return ErrnoStatus(errno, "seek in", path_);
  buffer_.clear();
  begin_ = searched_ = 0;
  at_end_ = false;
  number_ = lines;
  read_ = bytes;
  return absl::OkStatus();
}

absl::Status TextLines::Wrong(absl::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat(path_, ":", number_, ": ", what));
}

absl::Status TextLines::Read() {
  buffer_.erase(0, std::exchange(begin_, 0));
  const size_t had = buffer_.size();
  buffer_.resize(had + kReadBytes);
  const size_t got = std::fread(buffer_.data() + had, 1, kReadBytes, file_.get());
  buffer_.resize(had + got);
  read_ += got;
  if (got == kReadBytes) return absl::OkStatus();
  if (std::ferror(file_.get()) != 0) return ErrnoStatus(errno, "read", path_);
  at_end_ = true;
  return absl::OkStatus();
}

}  // namespace portico
