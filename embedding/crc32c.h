#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace portico {

/// CRC-32C (Castagnoli, as iSCSI and ext4 have it) of `bytes`.
uint32_t Crc32c(absl::string_view bytes);

}  // namespace portico
