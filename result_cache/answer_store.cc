#include "result_cache/answer_store.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>
#include <utility>

#include "base/check.h"
#include "result_cache/heap_bytes.h"
#include "result_cache/zeroed_table.h"

namespace portico {
namespace {

/// A shard has at least so many bytes, so that what one answer may take of it is worth something.
constexpr uint64_t kMinShardBytes = uint64_t{8} << 20;
constexpr uint64_t kMaxShards = 16;
/// Of the budget for each chain: so little that most are empty, and looking for what is not there touches no entry.
constexpr uint64_t kBytesPerChain = 256;
/// For each row that is remembered after it left: less than most entries take.
constexpr uint64_t kBytesPerGone = 1024;
/// The small queue's share of the bytes.
constexpr uint64_t kSmallShare = 10;
constexpr uint8_t kMaxAsked = 3;

/// A part of the digest, each part used for one thing.
uint64_t PartOf(const Digest& row, size_t part) {
  uint64_t number;
  std::memcpy(&number, row.bytes.data() + part * sizeof(number), sizeof(number));
  return number;
}

uint64_t RandomOdd() {
  std::random_device random;
  return uint64_t{random()} << 32 | random() | 1;
}

}  // namespace

class AnswerStore::Shard {
 public:
  Shard(uint64_t max_bytes, Totals& totals)
      : totals_(totals),
        chains_(std::bit_floor(max_bytes / kBytesPerChain)),
        gone_(std::bit_floor(max_bytes / kBytesPerGone)),
        overhead_(HeapBytes(sizeof(Shard)) + chains_.bytes() + gone_.bytes()),
        max_bytes_(max_bytes),
        bytes_(overhead_) {
    totals_.bytes.fetch_add(overhead_, std::memory_order_relaxed);
  }

  Ref<const RowAnswer> Get(const Digest& row) {
    MutexLock lock(&mutex_);
    RowAnswer* const entry = Find(row);
    if (entry != nullptr && entry->place_.asked < kMaxAsked) ++entry->place_.asked;
    return Ref<const RowAnswer>(entry);
  }

  Ref<const RowAnswer> Put(const Digest& row, absl::Span<const Tensor> outputs, int64_t index) {
    const uint64_t bytes = RowAnswer::BytesFor(outputs, index);
    if (bytes > (max_bytes_ - overhead_) / kLargestShare) return nullptr;
    Queue evicted;
    {
      MutexLock lock(&mutex_);
      if (RowAnswer* const entry = Find(row)) return Ref<const RowAnswer>(entry);
      const bool has_room = MakeRoom(bytes, &evicted);
      if (has_room) bytes_ += bytes;
      Tell(evicted, has_room ? bytes : 0);
      if (!has_room) return nullptr;
    }
    // Memory is let go of, taken and written to under no lock.
    RowAnswer::Block block;
    while (evicted.first) {
      Ref<RowAnswer> entry = evicted.Pop();
      const bool fits = block == nullptr && entry->bytes() == bytes;
      RowAnswer::Block freed = RowAnswer::Reclaim(std::move(entry));
      if (fits) block = std::move(freed);
    }
    Ref<RowAnswer> answer = RowAnswer::In(std::move(block), outputs, index);
    answer->place_.row = row;
    MutexLock lock(&mutex_);
    if (RowAnswer* const entry = Find(row)) {
      bytes_ -= bytes;
      totals_.bytes.fetch_sub(bytes, std::memory_order_relaxed);
      return Ref<const RowAnswer>(entry);
    }
    answer->place_.next_in_chain = std::exchange(ChainOf(row), answer.get());
    puts_.store(puts_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    (TakeGone(row) ? main_ : small_).Push(answer);
    return answer;
  }

  uint64_t puts() const { return puts_.load(std::memory_order_acquire); }

 private:
  static void PrefetchPlace(const RowAnswer& entry) {
    __builtin_prefetch(&entry);
    __builtin_prefetch(&entry.place_.next_in_queue);
  }

  /// First in, first out.
  struct Queue {
    Ref<RowAnswer> first;
    RowAnswer* last = nullptr;
    uint64_t bytes = 0;
    uint64_t entries = 0;

    ~Queue() {
      while (first) Pop();
    }
    void Push(Ref<RowAnswer> entry) {
      RowAnswer* const pushed = entry.get();
      bytes += pushed->bytes();
      ++entries;
      (first ? last->place_.next_in_queue : first) = std::move(entry);
      last = pushed;
    }
    Ref<RowAnswer> Pop() {
      Ref<RowAnswer> entry = std::move(first);
      first = std::move(entry->place_.next_in_queue);
      bytes -= entry->bytes();
      --entries;
      // The next to go: it has lain untouched for long, and whoever makes room next looks at it under the lock.
      if (first) PrefetchPlace(*first);
      return entry;
    }
  };
  /// A row that left the small queue unasked.
  struct Gone {
    uint32_t mark = 0;
    /// How many had left before.
    uint32_t number = 0;
  };

  RowAnswer*& ChainOf(const Digest& row) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return chains_[PartOf(row, 0) * salt_ >> chain_shift_];
  }
  RowAnswer* Find(const Digest& row) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    RowAnswer* entry = ChainOf(row);
    while (entry != nullptr && entry->place_.row != row) entry = entry->place_.next_in_chain;
    return entry;
  }

  /// Moves entries to `evicted` until there is room for so many bytes; false where all the rest is being put.
  bool MakeRoom(uint64_t bytes, Queue* evicted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    while (bytes_ + bytes > max_bytes_) {
      if (!small_.first && !main_.first) return false;
      PassOrEvict(evicted);
    }
    return true;
  }

  /// Takes a step towards room: passes on what was asked for, or moves one entry to `evicted`.
  void PassOrEvict(Queue* evicted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const bool from_small = !main_.first || (small_.first && small_.bytes >= max_bytes_ / kSmallShare);
    Ref<RowAnswer> entry = (from_small ? small_ : main_).Pop();
    RowAnswer::Place& place = entry->place_;
    if (from_small && place.asked > 1) {
      place.asked = 0;
      return main_.Push(std::move(entry));
    }
    if (!from_small && place.asked > 0) {
      --place.asked;
      return main_.Push(std::move(entry));
    }
    if (from_small) Remember(place.row);
    RowAnswer** chain = &ChainOf(place.row);
    while (*chain != entry.get()) chain = &(*chain)->place_.next_in_chain;
    *chain = place.next_in_chain;
    bytes_ -= entry->bytes();
    evicted->Push(std::move(entry));
  }

  Gone& GoneOf(const Digest& row) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return gone_[PartOf(row, 1) & (gone_.size() - 1)];
  }
  static uint32_t MarkOf(const Digest& row) { return static_cast<uint32_t>(PartOf(row, 2)) | 1; }
  void Remember(const Digest& row) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { GoneOf(row) = {MarkOf(row), next_gone_++}; }
  /// Whether it left of late, as many having left since as are here.
  bool TakeGone(const Digest& row) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Gone& gone = GoneOf(row);
    if (gone.mark != MarkOf(row)) return false;
    gone.mark = 0;
    return next_gone_ - gone.number <= small_.entries + main_.entries;
  }

  /// Counts what went and what comes for all shards. Not where both are as large: that is a line which all write to.
  void Tell(const Queue& evicted, uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (bytes != evicted.bytes) totals_.bytes.fetch_add(bytes - evicted.bytes, std::memory_order_relaxed);
    if (evicted.entries > 0) totals_.evictions.fetch_add(evicted.entries, std::memory_order_relaxed);
  }

  Totals& totals_;
  /// Nobody knows which rows meet in a chain, so that nobody can make one long.
  const uint64_t salt_ = RandomOdd();
  Mutex mutex_;
  /// Sized by the budget; their pages come with use.
  ZeroedTable<RowAnswer*> chains_ ABSL_GUARDED_BY(mutex_);
  const int chain_shift_ = 65 - static_cast<int>(std::bit_width(chains_.size()));
  ZeroedTable<Gone> gone_ ABSL_GUARDED_BY(mutex_);
  uint32_t next_gone_ ABSL_GUARDED_BY(mutex_) = 0;
  Queue small_ ABSL_GUARDED_BY(mutex_);
  Queue main_ ABSL_GUARDED_BY(mutex_);
  const uint64_t overhead_;
  const uint64_t max_bytes_;
  /// Those of answers that are being put count already.
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_);
  /// Written under the lock alone.
  std::atomic<uint64_t> puts_{0};
};

AnswerStore::AnswerStore(uint64_t max_bytes) : max_bytes_(max_bytes) {
  PORTICO_CHECK(max_bytes >= kMinBytes);
  totals_.bytes = HeapBytes(sizeof(AnswerStore)) + HeapBytes(kMaxShards * sizeof(shards_[0]));
  const uint64_t shards = std::clamp<uint64_t>(std::bit_floor(max_bytes / kMinShardBytes), 1, kMaxShards);
  const uint64_t shard_bytes = (max_bytes - totals_.bytes) / shards;
  for (uint64_t i = 0; i < shards; ++i) shards_.push_back(std::make_unique<Shard>(shard_bytes, totals_));
}

AnswerStore::~AnswerStore() = default;

AnswerStore::Shard& AnswerStore::ShardOf(const Digest& row) const {
  return *shards_[PartOf(row, 3) & (shards_.size() - 1)];
}

Ref<const RowAnswer> AnswerStore::Get(const Digest& row) { return ShardOf(row).Get(row); }

Ref<const RowAnswer> AnswerStore::Put(const Digest& row, absl::Span<const Tensor> outputs, int64_t index) {
  return ShardOf(row).Put(row, outputs, index);
}

uint64_t AnswerStore::Puts(const Digest& row) const { return ShardOf(row).puts(); }

uint64_t AnswerStore::TakeEvictions() { return totals_.evictions.exchange(0, std::memory_order_relaxed); }

}  // namespace portico
