#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "hub/store.h"

namespace portico {

/// Lists a store's modules where a server cannot: ROOT/index.json, rewritten as a whole at each publication.
inline constexpr char kIndexFile[] = "index.json";
inline constexpr uint64_t kMaxIndexBytes = uint64_t{64} << 20;

std::string FormatIndex(const std::vector<ModuleEntry>& entries);
/// INVALID_ARGUMENT "index: ...". Rising by handle.
absl::StatusOr<std::vector<ModuleEntry>> ParseIndex(absl::string_view text);

}  // namespace portico
