#pragma once

#include <array>
#include <cstddef>
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
  /// Where the next record begins.
  size_t at() const { return at_; }

 private:
  absl::string_view file_;
  size_t at_ = 0;
};

/// What stands before and behind a record in such a file.
struct TfRecordFrame {
  std::array<char, 12> head;
  std::array<char, 4> tail;
};
inline constexpr size_t kTfRecordFrameBytes = sizeof(TfRecordFrame::head) + sizeof(TfRecordFrame::tail);
TfRecordFrame FrameOfTfRecord(absl::string_view record);

/// Appends `record` as such a file has it.
void AppendTfRecord(absl::string_view record, std::string* file);

}  // namespace portico
