#include "node/observe/record_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "node/observe/tf_record.h"

namespace portico {
namespace {

constexpr absl::string_view kPrefix = "requests-";
constexpr absl::string_view kSuffix = ".tfrecord";
/// Names of other processes with the same number, in another namespace, say.
constexpr int kNameTries = 100;

/// Makes the folder and those above it; no error where it is there.
absl::Status MakeFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  if (errno != ENOENT) return ErrnoStatus(errno, "make folder", path);
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos || slash == 0) return ErrnoStatus(ENOENT, "make folder", path);
  RETURN_IF_ERROR(MakeFolder(path.substr(0, slash)));
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  return ErrnoStatus(errno, "make folder", path);
}

}  // namespace

absl::Status RecordFiles::Append(absl::string_view record) {
  const uint64_t size = record.size() + kTfRecordFrameBytes;
  if (size > options_.file_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("record: got ", record.size(), " bytes, want a file of at most ", options_.file_bytes));
  }
  if (fd_ >= 0 && (bytes_ + size > options_.file_bytes || clock_.Now() - opened_ >= options_.file_age || Removed())) {
    Close();
  }
  if (fd_ < 0) RETURN_IF_ERROR(Open());
  RETURN_IF_ERROR(MakeRoom(size));
  return Write(record);
}

void RecordFiles::Close() {
  if (fd_ < 0) return;
  close(fd_);
  fd_ = -1;
  if (bytes_ == 0) {
    unlink(path_.c_str());
  } else {
    closed_.push_back({path_, bytes_});
    closed_bytes_ += bytes_;
  }
  bytes_ = 0;
}

absl::Status RecordFiles::Open() {
  RETURN_IF_ERROR(MakeFolder(options_.folder));
  ListClosed();
  opened_ = clock_.Now();
  const std::string time = absl::FormatTime("%Y%m%dT%H%M%E6SZ", opened_, absl::UTCTimeZone());
  for (int i = 0; i < kNameTries; ++i) {
    path_ = absl::StrCat(options_.folder, "/", kPrefix, time, "-", getpid(), "-", next_number_++, kSuffix);
    fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (fd_ >= 0) return absl::OkStatus();
    if (errno != EEXIST) break;
  }
  return ErrnoStatus(errno, "create", path_);
}

void RecordFiles::ListClosed() {
  std::vector<File> found;
  std::error_code error;
  for (std::filesystem::directory_iterator it(options_.folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!absl::StartsWith(name, kPrefix) || !absl::EndsWith(name, kSuffix)) continue;
    std::error_code gone;
    const uint64_t bytes = it->file_size(gone);
    if (!gone) found.push_back({it->path().string(), bytes});
  }
  // Names begin with the time.
  std::sort(found.begin(), found.end(), [](const File& a, const File& b) { return a.path < b.path; });
  closed_.assign(std::make_move_iterator(found.begin()), std::make_move_iterator(found.end()));
  closed_bytes_ = 0;
  for (const File& file : closed_) closed_bytes_ += file.bytes;
}

absl::Status RecordFiles::MakeRoom(uint64_t bytes) {
  while (!closed_.empty() && total_bytes() + bytes > options_.total_bytes) {
    const File& oldest = closed_.front();
    if (unlink(oldest.path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(errno, "remove", oldest.path);
    closed_bytes_ -= oldest.bytes;
    closed_.pop_front();
  }
  return absl::OkStatus();
}

absl::Status RecordFiles::Write(absl::string_view record) {
  TfRecordFrame frame = FrameOfTfRecord(record);
  iovec parts[] = {{frame.head.data(), frame.head.size()},
                   {const_cast<char*>(record.data()), record.size()},
                   {frame.tail.data(), frame.tail.size()}};
  size_t first = 0;
  uint64_t left = record.size() + kTfRecordFrameBytes;
  while (left > 0) {
    const ssize_t wrote = writev(fd_, parts + first, static_cast<int>(std::size(parts) - first));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      const int error = wrote < 0 ? errno : ENOSPC;
      const std::string path = path_;
      // Half a record goes, lest a reader stumbles over it. Where even that fails, the file is at least the last of its
      // kind.
      if (ftruncate(fd_, static_cast<off_t>(bytes_)) != 0) Close();
      return ErrnoStatus(error, "write", path);
    }
    left -= static_cast<uint64_t>(wrote);
    for (auto done = static_cast<size_t>(wrote); done > 0;) {
      const size_t step = std::min(done, parts[first].iov_len);
      parts[first].iov_base = static_cast<char*>(parts[first].iov_base) + step;
      parts[first].iov_len -= step;
      done -= step;
      if (parts[first].iov_len == 0) ++first;
    }
  }
  bytes_ += record.size() + kTfRecordFrameBytes;
  return absl::OkStatus();
}

bool RecordFiles::Removed() const {
  struct stat info {};
  return fstat(fd_, &info) != 0 || info.st_nlink == 0;
}

}  // namespace portico
