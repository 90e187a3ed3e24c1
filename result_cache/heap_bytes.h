#pragma once

#include <algorithm>
#include <cstdint>

namespace portico {

/// What a block of `bytes` takes of the heap: as glibc's malloc rounds it, its own word included. 0 for none.
constexpr uint64_t HeapBytes(uint64_t bytes) {
  return bytes == 0 ? 0 : std::max<uint64_t>(32, (bytes + 8 + 15) / 16 * 16);
}

}  // namespace portico
