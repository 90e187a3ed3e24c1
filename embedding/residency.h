#pragma once

#include <cstdint>

namespace portico {

/// How many of a mapping's `bytes` from `begin` on are in memory: read from the file already, whoever did, and not
/// taken back by the kernel since. It looks at `pieces` pieces of 2 MB at most, evenly spread, so that asking about a
/// terabyte takes milliseconds. Reads nothing from the file. 0 where the kernel does not say.
uint64_t ResidentBytes(const char* begin, uint64_t bytes, uint64_t pieces = 512);

}  // namespace portico
