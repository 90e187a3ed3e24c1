#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file.h"
#include "node/observe/prediction_log.h"
#include "node/observe/tf_record.h"

namespace portico {

/// One request of a log, with what it was answered.
struct RecordedRequest {
  /// From 0: among all requests, and among the records of its file.
  uint64_t index = 0;
  uint64_t index_in_file = 0;
  std::string path;
  /// Views of `file`.
  PredictionLogView log;
  Ref<MappedFile> file;
};

/// The requests of several log files, one after another. For one thread.
class RecordedRequests {
 public:
  /// `paths`: files, and folders, of which the *.tfrecord files count, by name. NOT_FOUND for what is not there;
  /// INVALID_ARGUMENT for a folder without such a file.
  static absl::StatusOr<RecordedRequests> Open(const std::vector<std::string>& paths);

  /// The next request; none at the end. Records of other kinds are counted and left out. DATA_LOSS or INVALID_ARGUMENT,
  /// with the file's path, where one is damaged: the next call goes on with the next file.
  absl::StatusOr<std::optional<RecordedRequest>> Next();

  size_t files() const { return paths_.size(); }
  uint64_t skipped() const { return skipped_; }
  /// How much of all files has been read, 0 to 1.
  double progress() const {
    return all_bytes_ == 0 ? 1 : static_cast<double>(read_bytes_) / static_cast<double>(all_bytes_);
  }

 private:
  void CloseFile();

  std::vector<std::string> paths_;
  uint64_t all_bytes_ = 0;
  uint64_t read_bytes_ = 0;
  /// The file after the current one.
  size_t next_path_ = 0;
  Ref<MappedFile> file_;
  std::optional<TfRecordReader> reader_;
  uint64_t next_index_ = 0;
  uint64_t next_in_file_ = 0;
  uint64_t skipped_ = 0;
};

}  // namespace portico
