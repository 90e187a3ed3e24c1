#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// Reads a TFRecord file in place: a length, its checksum, the bytes and their checksum, again and again. For one
/// thread.
class TfRecordReader {
 public:
  /// `file`: the whole file's bytes; must outlive what it gives out.
  explicit TfRecordReader(absl::string_view file) : file_(file) {}

  /// The next record, a view; none at the end. DATA_LOSS where a record is cut off or its checksum is another.
  absl::StatusOr<std::optional<absl::string_view>> Next();

 private:
  absl::string_view file_;
  size_t at_ = 0;
};

/// Appends `record` as such a file has it.
void AppendTfRecord(absl::string_view record, std::string* file);

}  // namespace portico
