#include "node/observe/process_memory.h"

#include <malloc.h>
#include <unistd.h>

#include <fstream>

namespace portico {

ProcessMemory ReadProcessMemory() {
  ProcessMemory memory;
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0, resident = 0, shared = 0;
  statm >> total >> resident >> shared;
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  memory.resident_bytes = resident * page;
  memory.mapped_file_bytes = shared * page;
  const struct mallinfo2 info = mallinfo2();
  memory.allocated_bytes = info.uordblks + info.hblkhd;
  memory.kept_bytes = info.fordblks;
  return memory;
}

}  // namespace portico
