#include "embedding/residency.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstddef>

namespace portico {
namespace {

constexpr uint64_t kPage = 4096;
/// Of one question: 2 MB.
constexpr uint64_t kPiece = 512 * kPage;

}  // namespace

uint64_t ResidentBytes(const char* begin, uint64_t bytes, uint64_t pieces) {
  const uint64_t head = reinterpret_cast<uintptr_t>(begin) % kPage;
  begin -= head;
  bytes += head;
  const uint64_t all_pieces = (bytes + kPiece - 1) / kPiece;
  const uint64_t asked = std::min(all_pieces, std::max<uint64_t>(pieces, 1));
  uint64_t looked_at = 0, resident = 0;
  for (uint64_t i = 0; i < asked; ++i) {
    // 128 bits: the product could be more than 64 hold.
    const auto piece = static_cast<uint64_t>(static_cast<unsigned __int128>(all_pieces) * i / asked);
    const uint64_t at = piece * kPiece;
    const uint64_t length = std::min(kPiece, bytes - at);
    std::array<unsigned char, kPiece / kPage> pages;
    if (mincore(const_cast<char*>(begin) + at, length, pages.data()) != 0) return 0;
    const uint64_t count = (length + kPage - 1) / kPage;
    looked_at += count;
    resident += static_cast<uint64_t>(std::count_if(pages.begin(), pages.begin() + static_cast<ptrdiff_t>(count),
                                                    [](auto page) { return page & 1; }));
  }
  if (looked_at == 0) return 0;
  const uint64_t all = (bytes + kPage - 1) / kPage;
  const uint64_t found = looked_at == all
                             ? resident
                             : static_cast<uint64_t>(static_cast<double>(resident) / static_cast<double>(looked_at) *
                                                     static_cast<double>(all));
  return std::min(found * kPage, bytes);
}

}  // namespace portico
