#pragma once

#include <cstdint>

namespace portico {

/// How many of a mapping's `bytes` from `begin` on are in memory: read from the file already, whoever did, and not
/// taken back by the kernel since. Of more than a gigabyte it looks at a gigabyte's worth of pieces, evenly spread, so
/// that asking about a terabyte takes milliseconds. Reads nothing from the file. 0 where the kernel does not say.
uint64_t ResidentBytes(const char* begin, uint64_t bytes);

}  // namespace portico
