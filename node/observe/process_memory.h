#pragma once

#include <cstdint>

namespace portico {

/// What the system and the C library's allocator say of this process's memory.
struct ProcessMemory {
  /// In memory now; of that, pages of mapped files (weights that are external data, code), which the system may drop.
  uint64_t resident_bytes = 0;
  uint64_t mapped_file_bytes = 0;
  /// Handed out by the allocator. Temporaries of running sessions are among it: sessions have no arenas of their own.
  uint64_t allocated_bytes = 0;
  /// Free, but kept by the allocator for the next request.
  uint64_t kept_bytes = 0;
};

/// Takes the allocator's locks, one after another: for people and scrapes, not per request.
ProcessMemory ReadProcessMemory();

}  // namespace portico
