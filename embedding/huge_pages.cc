#include "embedding/huge_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace portico {
namespace {

constexpr uint64_t kHuge = ShardLayout::kSectionAlignment;
/// Each is a mapping of its own, of which Linux gives a process some 65,000.
constexpr uint64_t kMaxPiece = 8 * kHuge;

/// Memory for whole huge pages; null where there is none.
char* NewPiece(uint64_t bytes) {
  const uint64_t reserved = bytes + kHuge;
  void* const all = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) return nullptr;
  char* const begin = static_cast<char*>(all);
  char* const at = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(all) + kHuge - 1) / kHuge * kHuge);
  if (at != begin) munmap(begin, static_cast<size_t>(at - begin));
  if (begin + kHuge != at) munmap(at + bytes, static_cast<size_t>(begin + kHuge - at));
  madvise(at, bytes, MADV_HUGEPAGE);
  return at;
}

}  // namespace

uint64_t HugePiece::huge_bytes() const { return (bytes + kHuge - 1) / kHuge * kHuge; }

std::vector<HugePiece> HugePiecesOf(const ShardLayout& layout) {
  std::vector<HugePiece> pieces;
  const auto add = [&pieces](const ShardLayout::Section& section) {
    for (uint64_t done = 0; done < section.bytes; done += kMaxPiece) {
      pieces.push_back({section.offset + done, std::min(kMaxPiece, section.bytes - done)});
    }
  };
  for (const ShardLayout::Table& table : layout.tables) add(table.index);
  for (const ShardLayout::Table& table : layout.tables) add(table.rows);
  for (const ShardLayout::Table& table : layout.tables) add(table.strings);
  return pieces;
}

bool PromotePiece(const ShardFile& file, const HugePiece& piece) {
  // No section begins inside a huge page, and the last one of a table ends in front of the checksums.
  const uint64_t length = piece.huge_bytes();
  char* const copy = NewPiece(length);
  if (copy == nullptr) return false;
  char* const at = const_cast<char*>(file.begin()) + piece.offset;
  BlockVerifier& blocks = file.gate();
  const uint64_t faults = blocks.Faults();
  bool good = blocks.Ensure(at, piece.bytes).ok();
  if (good) {
    std::memcpy(copy, at, length);
    // What was copied may have gone meanwhile, and been zeros.
    good = blocks.Faults() == faults && mprotect(copy, length, PROT_READ) == 0;
  }
  // In one step for whoever reads: the kernel takes the old mapping away and puts the new one in its place under one
  // lock, which faults wait for.
  if (good) {
    if (mremap(copy, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, at) != MAP_FAILED) return true;
    // Out of memory on the way, the kernel may have taken the old mapping away already.
    file.MapAgain(piece.offset, length);
  }
  munmap(copy, length);
  return false;
}

bool DemotePiece(const ShardFile& file, const HugePiece& piece) {
  return file.MapAgain(piece.offset, piece.huge_bytes());
}

uint64_t PromotePieces(const ShardFile& file, uint64_t budget_bytes) {
  uint64_t promoted = 0;
  for (const HugePiece& piece : HugePiecesOf(file.layout())) {
    if (promoted + piece.huge_bytes() > budget_bytes) break;
    if (PromotePiece(file, piece)) promoted += piece.huge_bytes();
  }
  return promoted;
}

}  // namespace portico
