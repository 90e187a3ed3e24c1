#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace portico {

/// A folder of TFRecord files, requests-TIME-PID-N.tfrecord, written one after another: a new one begins when the
/// current is large or old enough, the oldest go when all together are too large. Those of other processes count, and
/// go, too: what is in a folder is bounded, whoever wrote it. A file ends with a whole record at any time, so that it
/// may be read while it is written; it is not synced to disk.
///
/// For one thread; calls block on the file system.
class RecordFiles {
 public:
  struct Options {
    /// Made where missing, for the owner alone: what is recorded are clients' data.
    std::string folder;
    uint64_t file_bytes = uint64_t{64} << 20;
    absl::Duration file_age = absl::Hours(1);
    /// Of all files together. At least file_bytes.
    uint64_t total_bytes = uint64_t{1} << 30;
  };

  /// `clock` is not owned and must outlive it. Touches no file yet.
  RecordFiles(Options options, const Clock& clock) : options_(std::move(options)), clock_(clock) {}
  ~RecordFiles() { Close(); }
  RecordFiles(const RecordFiles&) = delete;
  RecordFiles& operator=(const RecordFiles&) = delete;

  /// After an error the file is as before, and the next call begins anew. INVALID_ARGUMENT for a record that no file
  /// holds.
  absl::Status Append(absl::string_view record);
  /// The next record begins a new file.
  void Close();
  /// Of all files, as far as known: after an Append().
  uint64_t total_bytes() const { return closed_bytes_ + bytes_; }

 private:
  struct File {
    std::string path;
    uint64_t bytes;
  };

  absl::Status Open();
  /// What is in the folder already.
  void ListClosed();
  /// Removes the oldest files until `bytes` more fit.
  absl::Status MakeRoom(uint64_t bytes);
  absl::Status Write(absl::string_view record);
  /// Whether somebody has removed the current file.
  bool Removed() const;

  const Options options_;
  const Clock& clock_;
  /// Oldest first.
  std::deque<File> closed_;
  uint64_t closed_bytes_ = 0;
  /// The current file; −1: none.
  int fd_ = -1;
  std::string path_;
  uint64_t bytes_ = 0;
  absl::Time opened_;
  uint64_t next_number_ = 0;
};

}  // namespace portico
