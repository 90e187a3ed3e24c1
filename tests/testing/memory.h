#pragma once

#include <unistd.h>

#include <cstdint>
#include <fstream>

namespace portico {

/// Bytes of this process that are in memory now.
inline int64_t ResidentBytes() {
  std::ifstream in("/proc/self/statm");
  int64_t total = 0, resident = 0;
  in >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace portico
