#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// The units of ParseByteSize(), for help texts.
inline constexpr char kByteUnits[] = "KB, MB, GB, TB: powers of 1000; KiB, MiB, GiB, TiB: of 1024";

/// Bytes that a person wrote, "4096", "64MB" (64,000,000) or "64 MiB" (67,108,864): a whole number and B, KB, MB, GB,
/// TB, powers of 1000, or KiB, MiB, GiB, TiB, powers of 1024, in letters of either case, with or without their B.
/// INVALID_ARGUMENT "got 'x', want …" for anything else, and for what does not fit.
absl::StatusOr<uint64_t> ParseByteSize(absl::string_view text);

}  // namespace portico
