#include "result_cache/answer_store.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "result_cache/heap_bytes.h"
#include "result_cache/zeroed_table.h"

namespace portico {
namespace {

/// A shard has at least so many bytes, so that what one answer may take of it is worth something.
constexpr uint64_t kMinShardBytes = uint64_t{8} << 20;
constexpr uint64_t kMaxShards = 16;
/// Of the budget for each chain, and each row that is remembered after it left: less than most entries take.
constexpr uint64_t kBytesPerChain = 1024;
/// The small queue's share of the bytes.
constexpr uint64_t kSmallShare = 10;
constexpr uint8_t kMaxAsked = 3;

/// A part of the digest, each part used for one thing.
uint64_t PartOf(const Digest& row, size_t part) {
  uint64_t number;
  std::memcpy(&number, row.bytes.data() + part * sizeof(number), sizeof(number));
  return number;
}

}  // namespace

struct AnswerStore::Entry {
  Digest row;
  Ref<const RowAnswer> answer;
  Entry* next_in_chain = nullptr;
  Entry* next_in_queue = nullptr;
  uint64_t bytes = 0;
  /// How often it was asked for since it came, or since it was last passed by; up to kMaxAsked.
  uint8_t asked = 0;
};

class AnswerStore::Shard {
 public:
  explicit Shard(uint64_t max_bytes)
      : chains_(std::bit_floor(max_bytes / kBytesPerChain)),
        gone_(chains_.size()),
        overhead_(HeapBytes(sizeof(Shard)) + chains_.bytes() + gone_.bytes()),
        max_bytes_(max_bytes),
        bytes_(overhead_) {}
  ~Shard() {
    MutexLock lock(&mutex_);
    for (Queue* queue : {&small_, &main_}) {
      for (Entry* entry = queue->first; entry != nullptr;) delete std::exchange(entry, entry->next_in_queue);
    }
  }

  bool MayKeep(uint64_t entry_bytes) const { return entry_bytes <= (max_bytes_ - overhead_) / kLargestShare; }

  Ref<const RowAnswer> Get(const Digest& row) {
    MutexLock lock(&mutex_);
    Entry* const entry = Find(row);
    if (entry == nullptr) return nullptr;
    if (entry->asked < kMaxAsked) ++entry->asked;
    return entry->answer;
  }

  void Put(const Digest& row, Ref<const RowAnswer> answer) {
    const uint64_t bytes = HeapBytes(sizeof(Entry)) + answer->bytes();
    if (!MayKeep(bytes)) return;
    auto entry = std::make_unique<Entry>();
    entry->row = row;
    entry->answer = std::move(answer);
    entry->bytes = bytes;
    Entry* evicted = nullptr;
    {
      MutexLock lock(&mutex_);
      if (Find(row) != nullptr) return;
      while (bytes_.load(std::memory_order_relaxed) + bytes > max_bytes_) MakeRoom(&evicted);
      Add(bytes);
      Entry*& chain = ChainOf(row);
      entry->next_in_chain = chain;
      chain = entry.get();
      ++entries_;
      (TakeGone(row) ? main_ : small_).Push(entry.release());
    }
    while (evicted != nullptr) delete std::exchange(evicted, evicted->next_in_queue);
  }

  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  uint64_t TakeEvictions() { return evictions_.exchange(0, std::memory_order_relaxed); }

 private:
  /// First in, first out.
  struct Queue {
    Entry* first = nullptr;
    Entry* last = nullptr;
    uint64_t bytes = 0;

    void Push(Entry* entry) {
      entry->next_in_queue = nullptr;
      (first == nullptr ? first : last->next_in_queue) = entry;
      last = entry;
      bytes += entry->bytes;
    }
    Entry* Pop() {
      Entry* const entry = first;
      first = entry->next_in_queue;
      bytes -= entry->bytes;
      return entry;
    }
  };
  /// A row that left the small queue unasked.
  struct Gone {
    uint32_t mark = 0;
    /// How many had left before.
    uint32_t number = 0;
  };

  Entry*& ChainOf(const Digest& row) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return chains_[PartOf(row, 0) & (chains_.size() - 1)];
  }
  Entry* Find(const Digest& row) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Entry* entry = ChainOf(row);
    while (entry != nullptr && entry->row != row) entry = entry->next_in_chain;
    return entry;
  }

  /// Takes a step towards room: passes on what was asked for, or moves one entry to `evicted`.
  void MakeRoom(Entry** evicted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const bool from_small =
        main_.first == nullptr || (small_.first != nullptr && small_.bytes >= max_bytes_ / kSmallShare);
    Entry* const entry = (from_small ? small_ : main_).Pop();
    if (from_small && entry->asked > 1) {
      entry->asked = 0;
      return main_.Push(entry);
    }
    if (!from_small && entry->asked > 0) {
      --entry->asked;
      return main_.Push(entry);
    }
    if (from_small) Remember(entry->row);
    Entry** chain = &ChainOf(entry->row);
    while (*chain != entry) chain = &(*chain)->next_in_chain;
    *chain = entry->next_in_chain;
    --entries_;
    Add(-entry->bytes);
    evictions_.fetch_add(1, std::memory_order_relaxed);
    entry->next_in_queue = *evicted;
    *evicted = entry;
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
    return next_gone_ - gone.number <= entries_;
  }

  void Add(uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    bytes_.store(bytes_.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
  }

  Mutex mutex_;
  /// Sized by the budget; their pages come with use.
  ZeroedTable<Entry*> chains_ ABSL_GUARDED_BY(mutex_);
  ZeroedTable<Gone> gone_ ABSL_GUARDED_BY(mutex_);
  uint32_t next_gone_ ABSL_GUARDED_BY(mutex_) = 0;
  Queue small_ ABSL_GUARDED_BY(mutex_);
  Queue main_ ABSL_GUARDED_BY(mutex_);
  uint64_t entries_ ABSL_GUARDED_BY(mutex_) = 0;
  const uint64_t overhead_;
  const uint64_t max_bytes_;
  /// Written under the lock alone.
  std::atomic<uint64_t> bytes_;
  std::atomic<uint64_t> evictions_{0};
};

AnswerStore::AnswerStore(uint64_t max_bytes) : max_bytes_(max_bytes) {
  PORTICO_CHECK(max_bytes >= kMinBytes);
  const uint64_t own = HeapBytes(sizeof(AnswerStore)) + HeapBytes(kMaxShards * sizeof(shards_[0]));
  const uint64_t shards = std::clamp<uint64_t>(std::bit_floor(max_bytes / kMinShardBytes), 1, kMaxShards);
  for (uint64_t i = 0; i < shards; ++i) shards_.push_back(std::make_unique<Shard>((max_bytes - own) / shards));
}

AnswerStore::~AnswerStore() = default;

AnswerStore::Shard& AnswerStore::ShardOf(const Digest& row) const {
  return *shards_[PartOf(row, 3) & (shards_.size() - 1)];
}

bool AnswerStore::MayKeep(uint64_t bytes) const { return shards_[0]->MayKeep(HeapBytes(sizeof(Entry)) + bytes); }

Ref<const RowAnswer> AnswerStore::Get(const Digest& row) { return ShardOf(row).Get(row); }

void AnswerStore::Put(const Digest& row, Ref<const RowAnswer> answer) { ShardOf(row).Put(row, std::move(answer)); }

uint64_t AnswerStore::bytes() const {
  uint64_t bytes = HeapBytes(sizeof(AnswerStore)) + HeapBytes(kMaxShards * sizeof(shards_[0]));
  for (const auto& shard : shards_) bytes += shard->bytes();
  return bytes;
}

uint64_t AnswerStore::TakeEvictions() {
  uint64_t evictions = 0;
  for (const auto& shard : shards_) evictions += shard->TakeEvictions();
  return evictions;
}

}  // namespace portico
