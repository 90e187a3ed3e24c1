#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "absl/types/span.h"

namespace portico {

/// One cache line of an index: up to ten rows, each with 16 bits of its id's hash. Stands in shard files as it is
/// (little-endian).
struct alignas(64) IndexBucket {
  static constexpr uint32_t kSlots = 10;

  uint16_t tags[kSlots];
  uint16_t used;
  /// How many ids passed this full bucket on their way to the next one: who looks for one goes on while it is not 0.
  uint16_t passed;
  uint32_t rows[kSlots];

  /// A bit for each slot in use whose tag is `tag`.
  uint32_t Match(uint16_t tag) const {
    uint32_t mask;
#if defined(__SSE2__)
    // Two loads see the tags and what stands behind them; the upper bits go.
    const __m128i want = _mm_set1_epi16(static_cast<int16_t>(tag));
    const auto* at = reinterpret_cast<const __m128i*>(this);
    const __m128i same =
        _mm_packs_epi16(_mm_cmpeq_epi16(_mm_load_si128(at), want), _mm_cmpeq_epi16(_mm_load_si128(at + 1), want));
    mask = static_cast<uint32_t>(_mm_movemask_epi8(same));
#else
    mask = 0;
    for (uint32_t i = 0; i < kSlots; ++i) mask |= static_cast<uint32_t>(tags[i] == tag) << i;
#endif
    const uint32_t slots = used < kSlots ? used : kSlots;
    return mask & ((1u << slots) - 1);
  }
};
static_assert(sizeof(IndexBucket) == 64);

/// Which row an id has: buckets in place, as a shard file has them. An id whose bucket is full stands in one of those
/// behind it, in the same group of 1,024 buckets (64 KB, a block of the file): whoever looks leaves no block. A view;
/// constant, for all threads.
class BucketIndex {
 public:
  static constexpr uint32_t kNoRow = ~uint32_t{0};
  static constexpr uint64_t kGroup = 1024;

  BucketIndex() = default;
  /// `buckets` must outlive it. REQUIRES: `count` is CountFor() of some number of rows.
  BucketIndex(const IndexBucket* buckets, uint64_t count) : buckets_(buckets), count_(count) {}

  /// Buckets for so many rows: two slots in three are taken.
  static uint64_t CountFor(uint64_t rows) {
    const uint64_t count = std::max<uint64_t>(1, (rows * 3 + 2 * IndexBucket::kSlots - 1) / (2 * IndexBucket::kSlots));
    return count <= kGroup ? count : (count + kGroup - 1) / kGroup * kGroup;
  }
  static uint64_t HomeOf(uint64_t hash, uint64_t count) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(hash) * count) >> 64);
  }
  static uint16_t TagOf(uint64_t hash) { return static_cast<uint16_t>(hash); }
  /// The bucket behind `bucket` of its group, or the group's first.
  static uint64_t Next(uint64_t bucket, uint64_t count) {
    const uint64_t first = bucket / kGroup * kGroup;
    return bucket + 1 < std::min(first + kGroup, count) ? bucket + 1 : first;
  }

  uint64_t count() const { return count_; }
  const IndexBucket* buckets() const { return buckets_; }
  const IndexBucket& Home(uint64_t hash) const { return buckets_[HomeOf(hash, count_)]; }

  /// The first row whose tag fits and that `is_it(row)` accepts; kNoRow where there is none. Touches no row itself.
  template <typename IsIt>
  uint32_t Find(uint64_t hash, IsIt is_it) const {
    const uint16_t tag = TagOf(hash);
    uint64_t at = HomeOf(hash, count_);
    // A file can be wrong: no round goes on for ever.
    for (uint64_t left = std::min(kGroup, count_); left > 0; --left, at = Next(at, count_)) {
      const IndexBucket& bucket = buckets_[at];
      for (uint32_t mask = bucket.Match(tag); mask != 0; mask &= mask - 1) {
        const uint32_t row = bucket.rows[__builtin_ctz(mask)];
        if (is_it(row)) return row;
      }
      if (bucket.passed == 0) break;
    }
    return kNoRow;
  }

 private:
  const IndexBucket* buckets_ = nullptr;
  uint64_t count_ = 0;
};

/// Puts a row where it belongs in `buckets`, of which the first is number `first` of `count`. False: no room in its
/// group.
inline bool InsertRow(absl::Span<IndexBucket> buckets, uint64_t first, uint64_t count, uint64_t hash, uint32_t row) {
  uint64_t at = BucketIndex::HomeOf(hash, count);
  for (uint64_t left = std::min(BucketIndex::kGroup, count); left > 0; --left, at = BucketIndex::Next(at, count)) {
    IndexBucket& bucket = buckets[at - first];
    if (bucket.used < IndexBucket::kSlots) {
      bucket.tags[bucket.used] = BucketIndex::TagOf(hash);
      bucket.rows[bucket.used] = row;
      ++bucket.used;
      return true;
    }
    ++bucket.passed;
  }
  return false;
}

}  // namespace portico
