#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "embedding/block_gate.h"
#include "embedding/bus_guard.h"
#include "embedding/shard_layout.h"

namespace portico {

/// Knows of each block of a mapped shard file whether it was verified, and that it is broken: a checksum that does not
/// fit, or memory that is gone. A block is verified when somebody first wants it; once all are, lookups pay one load.
/// Broken blocks stay so. Thread-safe, without locks: two threads may verify the same block at a time.
class BlockVerifier final : public BlockGate {
 public:
  /// Borrows the mapping of the whole file, its layout, and the file that is mapped, -1 for a copy in memory. `path` is
  /// for messages.
  BlockVerifier(std::string path, int fd, const char* begin, const ShardLayout& layout);

  bool AllVerified() const override { return unverified_.load(std::memory_order_acquire) == 0; }
  absl::Status Ensure(const char* at, size_t bytes) override;
  uint64_t Faults() const override { return faults_.load(std::memory_order_acquire); }

  /// Verifies a block unless it is known to be well. DATA_LOSS names it.
  absl::Status EnsureBlock(uint64_t block);
  uint64_t unverified_blocks() const { return unverified_.load(std::memory_order_relaxed); }
  uint64_t broken_blocks() const { return broken_count_.load(std::memory_order_relaxed); }
  struct Counts {
    uint64_t broken = 0;
    /// Neither verified nor broken.
    uint64_t unverified = 0;
  };
  /// Of the blocks of a section. Takes a nanosecond a block while there are any of the two in the file.
  Counts CountsOf(const ShardLayout::Section& section) const;

 private:
  using Word = std::atomic<uint64_t>;

  static void OnFault(void* self, const char* page);

  bool IsVerified(uint64_t block) const {
    return (verified_[block / 64].load(std::memory_order_acquire) >> block % 64 & 1) != 0;
  }
  bool IsBroken(uint64_t block) const { return (broken_[block / 64].load() >> block % 64 & 1) != 0; }
  void SetVerified(uint64_t block);
  /// Async-signal-safe.
  void SetBroken(uint64_t block);
  absl::Status Verify(uint64_t block);
  absl::Status Broken(uint64_t block, absl::string_view why) const;
  /// CRC-32C that stands in the file. REQUIRES: the block of checksums was verified.
  uint32_t Want(uint64_t block) const;

  const std::string path_;
  const int fd_;
  const char* const begin_;
  const ShardLayout& layout_;
  const uint64_t blocks_;
  std::unique_ptr<Word[]> verified_;
  std::unique_ptr<Word[]> broken_;
  std::atomic<uint64_t> unverified_{0};
  std::atomic<uint64_t> broken_count_{0};
  std::atomic<uint64_t> faults_{0};
  /// Last: faults come from here.
  const BusGuard guard_;
};

}  // namespace portico
