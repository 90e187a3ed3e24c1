#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <thread>

#include "embedding/shard_file.h"

namespace portico {

/// How much memory of huge pages the shards of a process may take together. Thread-safe.
class HugePageBudget {
 public:
  explicit HugePageBudget(uint64_t bytes) : left_(static_cast<int64_t>(bytes)) {}

  /// False, and nothing is taken, where less is left.
  bool Take(uint64_t bytes);
  void GiveBack(uint64_t bytes) { left_.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> left_;
};

/// Moves parts of a mapped shard file to memory of huge pages while it is being read: some MB at a time are verified,
/// copied, and the copy put in the mapping's place in one step, so that readers see the same bytes at the same address
/// all along. Random reads of 4 KB pages miss the TLB nearly each time; docs/decisions/0032 has what it brings. Indexes
/// go first, of which each lookup reads a line, then rows, as far as the budget goes. What is broken stays where it is.
///
/// On a thread of its own that gives way to those that serve. The file must outlive it; what was moved stays moved, and
/// goes with the file.
class HugePageMover {
 public:
  /// `budget` is not owned, must outlive it, and has back what was taken when this goes.
  HugePageMover(const ShardFile& file, HugePageBudget& budget);
  ~HugePageMover();
  HugePageMover(const HugePageMover&) = delete;
  HugePageMover& operator=(const HugePageMover&) = delete;

  /// Until it has moved what it may.
  void Wait();
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

  /// Of those, what lies in a section.
  uint64_t BytesIn(const ShardLayout::Section& section) const;

 private:
  enum class Outcome { kMoved, kSkipped, kStop };
  struct Part {
    explicit Part(const ShardLayout::Section& section) : section(section) {}
    const ShardLayout::Section section;
    std::atomic<uint64_t> moved{0};
  };

  void Run();
  /// A piece from `offset` of the file on, of which the section has `bytes`.
  Outcome Move(uint64_t offset, uint64_t bytes);

  const ShardFile& file_;
  HugePageBudget& budget_;
  /// In the order in which they are moved.
  std::deque<Part> parts_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> bytes_{0};
  std::thread thread_;
};

}  // namespace portico
