#include "embedding/huge_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "base/thread_schedule.h"

namespace portico {
namespace {

constexpr uint64_t kHuge = ShardLayout::kSectionAlignment;
/// Moved at a time. Each is a mapping of its own, of which Linux gives a process some 65,000.
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

bool HugePageBudget::Take(uint64_t bytes) {
  const auto wanted = static_cast<int64_t>(bytes);
  int64_t left = left_.load(std::memory_order_relaxed);
  while (left >= wanted) {
    if (left_.compare_exchange_weak(left, left - wanted, std::memory_order_relaxed)) return true;
  }
  return false;
}

HugePageMover::HugePageMover(const ShardFile& file, HugePageBudget& budget) : file_(file), budget_(budget) {
  const std::vector<ShardLayout::Table>& tables = file.layout().tables;
  for (const ShardLayout::Table& table : tables) parts_.emplace_back(table.index);
  for (const ShardLayout::Table& table : tables) parts_.emplace_back(table.rows);
  for (const ShardLayout::Table& table : tables) parts_.emplace_back(table.strings);
  thread_ = std::thread([this] { Run(); });
}

HugePageMover::~HugePageMover() {
  stop_.store(true, std::memory_order_relaxed);
  Wait();
  budget_.GiveBack(bytes());
}

void HugePageMover::Wait() {
  if (thread_.joinable()) thread_.join();
}

uint64_t HugePageMover::BytesIn(const ShardLayout::Section& section) const {
  if (section.bytes == 0) return 0;
  for (const Part& part : parts_) {
    if (part.section.bytes != 0 && part.section.offset == section.offset) {
      return part.moved.load(std::memory_order_relaxed);
    }
  }
  return 0;
}

void HugePageMover::Run() {
  YieldToServing(10);
  for (Part& part : parts_) {
    const uint64_t end = part.section.offset + part.section.bytes;
    for (uint64_t offset = part.section.offset; offset < end; offset += kMaxPiece) {
      const uint64_t bytes = std::min(kMaxPiece, end - offset);
      const Outcome outcome = Move(offset, bytes);
      if (outcome == Outcome::kStop) return;
      if (outcome == Outcome::kMoved) part.moved.fetch_add(bytes, std::memory_order_relaxed);
    }
  }
}

HugePageMover::Outcome HugePageMover::Move(uint64_t offset, uint64_t bytes) {
  // No section begins inside a huge page, and the last one of a table ends in front of the checksums.
  const uint64_t length = (bytes + kHuge - 1) / kHuge * kHuge;
  if (stop_.load(std::memory_order_relaxed) || !budget_.Take(length)) return Outcome::kStop;
  char* const piece = NewPiece(length);
  if (piece == nullptr) {
    budget_.GiveBack(length);
    return Outcome::kStop;
  }
  char* const at = const_cast<char*>(file_.begin()) + offset;
  BlockVerifier& blocks = file_.gate();
  const uint64_t faults = blocks.Faults();
  bool good = blocks.Ensure(at, bytes).ok();
  if (good) {
    std::memcpy(piece, at, length);
    // What was copied may have gone meanwhile, and been zeros.
    good = blocks.Faults() == faults && mprotect(piece, length, PROT_READ) == 0;
  }
  // In one step for whoever reads: the kernel takes the old mapping away and puts the new one in its place under one
  // lock, which faults wait for.
  if (good && mremap(piece, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, at) != MAP_FAILED) {
    bytes_.fetch_add(length, std::memory_order_relaxed);
    return Outcome::kMoved;
  }
  munmap(piece, length);
  budget_.GiveBack(length);
  return Outcome::kSkipped;
}

}  // namespace portico
