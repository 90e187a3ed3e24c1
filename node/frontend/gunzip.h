#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// Unpacks gzip or zlib data. RESOURCE_EXHAUSTED as soon as the result would exceed `max_bytes`, INVALID_ARGUMENT for
/// what is not gzip, is damaged, cut short or followed by other bytes.
absl::StatusOr<std::string> Gunzip(absl::string_view packed, uint64_t max_bytes);

}  // namespace portico
