#include "embedding/crc32c.h"

#include <algorithm>

#include "isa-l/crc.h"

namespace portico {

uint32_t Crc32c(absl::string_view bytes) {
  // ISA-L leaves the inversions at both ends to who calls, and takes an int for the length.
  constexpr size_t kMost = size_t{1} << 30;
  uint32_t crc = ~uint32_t{0};
  while (!bytes.empty()) {
    const size_t length = std::min(bytes.size(), kMost);
    crc = crc32_iscsi(reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data())), static_cast<int>(length), crc);
    bytes.remove_prefix(length);
  }
  return ~crc;
}

}  // namespace portico
