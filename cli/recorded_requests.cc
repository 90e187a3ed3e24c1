#include "cli/recorded_requests.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {
namespace {

absl::StatusOr<std::vector<std::string>> FilesOf(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() == ".tfrecord") files.push_back(it->path().string());
  }
  if (error) return ErrnoStatus(error.value(), "list", folder);
  if (files.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("folder '", folder, "': got no *.tfrecord file, want at least one"));
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

absl::StatusOr<RecordedRequests> RecordedRequests::Open(const std::vector<std::string>& paths) {
  RecordedRequests requests;
  for (const std::string& path : paths) {
    std::error_code ignored;
    if (!std::filesystem::is_directory(path, ignored)) {
      requests.paths_.push_back(path);
      continue;
    }
    ASSIGN_OR_RETURN(std::vector<std::string> files, FilesOf(path));
    std::move(files.begin(), files.end(), std::back_inserter(requests.paths_));
  }
  for (const std::string& path : requests.paths_) {
    ASSIGN_OR_RETURN(const Ref<MappedFile> file, MappedFile::Open(path));
    requests.all_bytes_ += file->bytes().size();
  }
  return requests;
}

absl::StatusOr<std::optional<RecordedRequest>> RecordedRequests::Next() {
  while (true) {
    if (!reader_.has_value()) {
      if (next_path_ == paths_.size()) return std::optional<RecordedRequest>();
      ASSIGN_OR_RETURN(file_, MappedFile::Open(paths_[next_path_++]));
      reader_.emplace(file_->bytes());
      next_in_file_ = 0;
    }
    const std::string& path = paths_[next_path_ - 1];
    const size_t before = reader_->at();
    const absl::StatusOr<std::optional<absl::string_view>> record = reader_->Next();
    if (!record.ok()) {
      CloseFile();
      return WithContext(absl::StrCat("file '", path, "'"), record.status());
    }
    if (!record->has_value()) {
      CloseFile();
      continue;
    }
    read_bytes_ += reader_->at() - before;
    absl::StatusOr<PredictionLogView> log = ReadPredictionLog(**record);
    if (!log.ok()) {
      CloseFile();
      return WithContext(absl::StrCat("file '", path, "': record ", next_in_file_), log.status());
    }
    const uint64_t in_file = next_in_file_++;
    if (!log->has_request) {
      ++skipped_;
      continue;
    }
    return std::optional<RecordedRequest>(RecordedRequest{next_index_++, in_file, path, *std::move(log), file_});
  }
}

void RecordedRequests::CloseFile() {
  read_bytes_ += file_->bytes().size() - reader_->at();
  reader_.reset();
  file_ = {};
}

}  // namespace portico
