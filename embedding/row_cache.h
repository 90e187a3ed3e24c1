#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "embedding/row_type.h"

namespace portico {

/// Rows of tables, kept by who asks shards for them: those that are asked for most often, in a fixed number of bytes.
/// A row is known by table, id and origin, a number that stands for one exact version of the shard that gave it: rows
/// of a version never change, so what is found is what the shard would answer, byte for byte. Of each id one row is
/// kept, of the origin that was learned last.
///
/// Thread-safe; readers take no lock and write nothing but how often a row is asked for, and not even that of rows that
/// are asked for all the time. Who writes where another one just does gives up: it is a cache.
///
///   RowCache::Place place = cache->Locate(key, type, bytes);   …16 ids later  cache->Fetch(place);
///   …8 later  if (!cache->Read(place, key, origin, row)) { ask the shard;  cache->Put(key, origin, type, bytes, now) }
///
/// How: sets of eight slots. Slots of one size are in segments, of which there are 32 for all sizes together; a size
/// gets another one when its sets are full, by linear hashing (Litwin, VLDB 1980), so that those that are asked for get
/// the memory. A slot is a sequence lock. A row takes another's slot only if it has been asked for more often
/// of late: TinyLFU (Einziger, Friedman, Manes, ACM Transactions on Storage 13(4), 2017), whose counters each set has
/// beside its marks, so that ids that come once wash nothing out.
class RowCache {
 public:
  /// Less is refused.
  static constexpr uint64_t kMinBytes = uint64_t{1} << 20;

  /// Which row. `text`: of tables of strings, `id` then being a hash of it.
  struct Key {
    /// The caller's number of the table.
    uint32_t table = 0;
    uint64_t id = 0;
    absl::string_view text;
  };
  /// Where a row is if it is kept: between Locate() and what is done with it.
  struct Place {
    /// Null: rows of that size are not kept.
    char* set = nullptr;
    uint64_t mark = 0;
    uint32_t slot_bytes = 0;
    RowType type = RowType::kFloat32;
    uint32_t row_bytes = 0;
  };
  /// What Last() found.
  struct Known {
    uint64_t origin = 0;
    /// When the row came, in seconds, of the clock that Put() was told the time by.
    uint32_t learned = 0;
  };

  /// Reserves `bytes`, which become memory as they are written. RESOURCE_EXHAUSTED where the system has no room for
  /// them. REQUIRES: at least kMinBytes.
  static absl::StatusOr<std::shared_ptr<RowCache>> Create(uint64_t bytes);
  ~RowCache();
  RowCache(const RowCache&) = delete;
  RowCache& operator=(const RowCache&) = delete;

  /// Of a row of `row_bytes` bytes (EncodedBytes() of its type and dim). Has the set on its way into the cache of the
  /// processor.
  Place Locate(const Key& key, RowType type, size_t row_bytes) const;
  /// Has the slot on its way. Costs nothing where the set has come meanwhile.
  void Fetch(const Place& place) const;
  /// Copies the row of that origin to `out`, and notes that it was asked for; false where it is not kept.
  bool Read(const Place& place, const Key& key, uint64_t origin, char* out) const;
  /// Copies the row of whatever origin; notes nothing. Origin 0: it is not kept.
  Known Last(const Place& place, const Key& key, char* out) const;
  /// Keeps a row, maybe. REQUIRES: origin is not 0.
  void Put(const Key& key, uint64_t origin, RowType type, size_t row_bytes, const char* row, uint32_t now);

  uint64_t max_bytes() const { return max_bytes_; }
  /// Of segments in use.
  uint64_t bytes() const { return segments_.load(std::memory_order_relaxed) * segment_bytes_; }
  /// Rows that had to make room for others since this was asked last.
  uint64_t TakeEvictions() { return evictions_.exchange(0, std::memory_order_relaxed); }

 private:
  static constexpr size_t kSegments = 32;
  /// Kept back for sizes that have none yet.
  static constexpr size_t kReserve = 2;
  static constexpr size_t kGranule = 64;
  /// The largest rows with their ids and headers.
  static constexpr size_t kSizes = (4 * kMaxDim + 8192) / kGranule;

  /// Slots of one size. Segments come and never go.
  struct Size {
    std::atomic<uint32_t> count{0};
    std::array<std::atomic<char*>, kSegments> segments{};
    /// Rows that came to full sets since the last segment did.
    std::atomic<uint64_t> crowded{0};
  };

  RowCache(char* memory, uint64_t max_bytes);
  static size_t SlotBytes(const Key& key, size_t row_bytes);
  uint64_t Hash(const Key& key) const;
  char* SetOf(size_t slot_bytes, uint64_t hash) const;
  size_t SetsOf(size_t slot_bytes) const;
  template <typename Matches>
  Known Find(const Place& place, const Key& key, const Matches& matches, char* out) const;
  /// Another segment for slots of that size; false where there is none left for it.
  bool Grow(size_t slot_bytes);

  char* const memory_;
  const uint64_t max_bytes_;
  const uint64_t segment_bytes_;
  uint64_t seed_ = 0;
  std::atomic<uint64_t> segments_{0};
  std::atomic<uint64_t> evictions_{0};
  Mutex growing_;
  /// By size in granules; made at first use.
  std::array<std::atomic<Size*>, kSizes> sizes_{};
};

}  // namespace portico
