#pragma once

#include <algorithm>
#include <cstdint>

namespace portico {

/// What a block of `bytes` takes of the heap: as glibc's malloc rounds it, its own word included. 0 for none.
constexpr uint64_t HeapBytes(uint64_t bytes) {
  return bytes == 0 ? 0 : std::max<uint64_t>(32, (bytes + 8 + 15) / 16 * 16);
}

/// The largest block that takes `heap_bytes`, a HeapBytes() of something: blocks of one number have one size, and can
/// stand in for each other.
constexpr uint64_t BlockOf(uint64_t heap_bytes) { return heap_bytes - 8; }

}  // namespace portico
