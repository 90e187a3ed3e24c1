#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// A page of what ListObjectsV2 answers.
struct S3Page {
  std::vector<std::string> keys;
  /// With which the next page is asked for; empty: there is none.
  std::string next;
};

inline constexpr uint64_t kMaxS3PageBytes = uint64_t{16} << 20;

/// Reads the XML; at most 10,000 keys of 1,024 bytes. INVALID_ARGUMENT for what is none.
absl::StatusOr<S3Page> ParseS3Page(absl::string_view xml);

}  // namespace portico
