#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace portico {

/// How often parts of mapped memory are read, as far as samples tell. Who reads counts one id in many; of two who count
/// the same part at once, one may be lost. Thread-safe, never waits.
class TouchCounts {
 public:
  static constexpr uint64_t kPartBytes = uint64_t{2} << 20;

  TouchCounts(const char* begin, uint64_t bytes) : begin_(begin), counts_((bytes + kPartBytes - 1) / kPartBytes) {}

  /// REQUIRES: `at` is in that memory.
  void Count(const void* at) {
    std::atomic<uint32_t>& count = counts_[static_cast<uint64_t>(static_cast<const char*>(at) - begin_) / kPartBytes];
    count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  /// Of the parts in [offset, offset + bytes), since they were taken last. REQUIRES: `offset` begins a part.
  uint64_t Take(uint64_t offset, uint64_t bytes) {
    uint64_t sum = 0;
    for (uint64_t part = offset / kPartBytes; part * kPartBytes < offset + bytes; ++part) {
      sum += counts_[part].exchange(0, std::memory_order_relaxed);
    }
    return sum;
  }

 private:
  const char* const begin_;
  std::vector<std::atomic<uint32_t>> counts_;
};

}  // namespace portico
