#pragma once

#include <unistd.h>

#include <cstdint>
#include <fstream>

namespace portico {

/// Whether a sanitizer keeps what is freed: memory in use says little then.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

/// Bytes of this process that are in memory now.
inline int64_t ResidentBytes() {
  std::ifstream in("/proc/self/statm");
  int64_t total = 0, resident = 0;
  in >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace portico
