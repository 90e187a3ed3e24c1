#include "base/allocator.h"

#include <cstdlib>
#include <limits>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace portico {

void TuneAllocator() {
#if defined(__GLIBC__)
  // Blocks below this come from the heap, where they are used again, and not from mmap. glibc takes no more than 32
  // MiB.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  // What lies free at the end of the heap stays ours.
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}

}  // namespace portico
