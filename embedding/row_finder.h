#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "embedding/block_gate.h"
#include "embedding/id_bags.h"
#include "embedding/id_hash.h"
#include "embedding/row_overlay.h"
#include "embedding/table.h"

namespace portico {

/// How many ids each step of the pipeline takes at once. A power of two.
inline constexpr size_t kFinderBlock = 32;

/// Finds the rows of a lookup's ids, in their order, with memory fetched ahead. `kGated`: asks the gate before it
/// reads. `kOverlaid`: updated rows (RowOverlay) are looked at first; who is not in their filter goes on as without.
/// For one thread and one lookup.
///
/// Ids are taken in blocks, and each step of a block is a loop of its own with little else in it. A fetch leaves the
/// processor's window only when its page was found, which takes as long as the line itself where tables are large: with
/// the arithmetic of rows between two fetches, a few would be under way at a time; side by side, as many as the
/// processor has page walkers and places for misses (docs/decisions/0030).
///
/// Row() gives the numbers of a row; null for one that is unknown or, where status() says so, cannot be read.
template <IdKind kKind, bool kGated, bool kOverlaid = false>
class RowFinder {
 public:
  RowFinder(const TableSpec& spec, const TableMemory& memory, BlockGate* gate, const IdBags& bags)
      : spec_(spec),
        memory_(memory),
        gate_(gate),
        bags_(bags),
        count_(bags.count()),
        row_bytes_(RowHeadBytes(kKind) + EncodedBytes(spec.row_type, spec.dim)),
        now_(kOverlaid ? memory.Now() : 0) {
    for (size_t block = 0; block < kSteps; ++block) First(block * kFinderBlock);
    for (size_t block = 0; block + 1 < kSteps; ++block) Second(block * kFinderBlock);
    if constexpr (kHasThird) Third(0);
  }

  bool IsPadding(size_t i) const {
    if constexpr (kKind == IdKind::kString) return bags_.empty_is_padding && bags_.strings[i].empty();
    return bags_.padding.has_value() && bags_.ids[i] == *bags_.padding;
  }

  /// To be called for each id in turn, before Row(): moves what is further ahead.
  void Advance(size_t i) {
    if (ABSL_PREDICT_TRUE(i % kFinderBlock != 0)) return;
    First(i + kSteps * kFinderBlock);
    Second(i + (kSteps - 1) * kFinderBlock);
    if constexpr (kHasThird) Third(i + kFinderBlock);
  }

  ABSL_ATTRIBUTE_ALWAYS_INLINE const char* Row(size_t i) {
    if constexpr (kOverlaid) {
      Step& step = steps_[i % kRing];
      if (step.updated != BucketIndex::kNoRow) {
        if (const char* const row = Updated(i, step))
          return UpdatedRow::Until(row) > now_ ? row + UpdatedRow::HeadBytes(kKind) : nullptr;
        // Another id whose tag is the same: the base has not been asked yet.
        step.updated = BucketIndex::kNoRow;
      }
    }
    if constexpr (kKind == IdKind::kDense) {
      const auto id = static_cast<uint64_t>(bags_.ids[i]);
      if (ABSL_PREDICT_FALSE(id >= memory_.row_count)) return nullptr;
      return Readable(RowAt(id)) ? RowAt(id) : nullptr;
    } else {
      const Step& step = steps_[i % kRing];
      if (step.row == BucketIndex::kNoRow) return nullptr;
      if (ABSL_PREDICT_TRUE(Is(step.row, i, step.hash))) return RowAt(step.row) + RowHeadBytes(kKind);
      if (!status_.ok()) return nullptr;
      return AnotherRow(i, step.hash);
    }
  }

  const absl::Status& status() const { return status_; }

 private:
  static constexpr bool kHasThird = kOverlaid || kKind == IdKind::kString;
  /// How many blocks the first step is ahead.
  static constexpr size_t kSteps = kHasThird ? 3 : 2;
  static constexpr size_t kRing = 4 * kFinderBlock;
  struct Step {
    uint64_t hash;
    /// The first whose tag fits.
    uint32_t row;
    /// The same among updated rows; kNoRow: the base has it, if anybody.
    uint32_t updated;
  };

  /// In place of a row: the bucket is on its way.
  static constexpr uint32_t kAsked = BucketIndex::kNoRow - 1;

  const char* RowAt(uint64_t row) const { return memory_.rows + row * memory_.stride; }

  // Into the second-level cache, which has more fetches under way than the first (docs/decisions/0030). Always inlined:
  // GCC takes a function that only prefetches for one without effects, and leaves calls of it out.
  ABSL_ATTRIBUTE_ALWAYS_INLINE static void Prefetch(const void* at) { __builtin_prefetch(at, 0, 2); }
  ABSL_ATTRIBUTE_ALWAYS_INLINE void PrefetchRow(uint64_t row) const { FetchLines(RowAt(row), row_bytes_); }
  ABSL_ATTRIBUTE_ALWAYS_INLINE static void FetchLines(const char* at, size_t bytes) {
    const char* const end = at + bytes;
    for (at -= reinterpret_cast<uintptr_t>(at) % 64; at < end; at += 64) Prefetch(at);
  }

  bool Ensure(const void* at, size_t bytes) {
    if constexpr (!kGated) return true;
    if (!status_.ok()) return false;
    status_ = gate_->Ensure(static_cast<const char*>(at), bytes);
    return status_.ok();
  }
  bool Readable(const char* row) { return Ensure(row, row_bytes_); }

  uint64_t HashOf(size_t i) const {
    if constexpr (kKind == IdKind::kString) return HashId(bags_.strings[i], spec_.seed);
    return HashId(static_cast<uint64_t>(bags_.ids[i]), spec_.seed);
  }

  // Of all ids of the block that begins at `begin`:

  size_t EndOf(size_t begin) const { return std::min(begin + kFinderBlock, count_); }

  /// Fetches the buckets; nothing where the id says which row it is.
  void First(size_t begin) {
    if constexpr (kKind != IdKind::kDense || kOverlaid) {
      for (size_t i = begin; i < EndOf(begin); ++i) {
        const uint64_t hash = HashOf(i);
        steps_[i % kRing].hash = hash;
        if constexpr (kOverlaid) Prefetch(memory_.overlay->FilterAt(hash));
        if constexpr (kKind != IdKind::kDense) Prefetch(&memory_.index.Home(hash));
      }
    }
  }

  /// Reads the buckets, fetches the rows; of ids that may have been updated, fetches those buckets.
  void Second(size_t begin) {
    const size_t end = EndOf(begin);
    if (begin >= end) return;
    if constexpr (kOverlaid) {
      for (size_t i = begin; i < end; ++i) {
        Step& step = steps_[i % kRing];
        step.updated = memory_.overlay->MayHave(step.hash) ? kAsked : BucketIndex::kNoRow;
        if (step.updated == kAsked) Prefetch(&memory_.overlay->index().Home(step.hash));
      }
    }
    if constexpr (kKind != IdKind::kDense) {
      for (size_t i = begin; i < end; ++i) ReadBucket(steps_[i % kRing]);
    }
    for (size_t i = begin; i < end; ++i) {
      if constexpr (kOverlaid) {
        if (steps_[i % kRing].updated == kAsked) continue;
      }
      PrefetchRowOf(i);
    }
    if (memory_.touches != nullptr) CountTouches(begin);
  }

  /// Where the first id of a block led.
  void CountTouches(size_t begin) const {
    uint64_t row;
    if constexpr (kKind == IdKind::kDense) {
      row = static_cast<uint64_t>(bags_.ids[begin]);
    } else {
      row = steps_[begin % kRing].row;
      memory_.touches->Count(&memory_.index.Home(steps_[begin % kRing].hash));
    }
    if (row < memory_.row_count) memory_.touches->Count(RowAt(row));
  }

  /// Reads the heads of rows, fetches the bytes of their ids; of ids that may have been updated, fetches those rows.
  void Third(size_t begin) {
    const size_t end = EndOf(begin);
    if constexpr (kOverlaid) {
      for (size_t i = begin; i < end; ++i) {
        Step& step = steps_[i % kRing];
        if (step.updated != kAsked) continue;
        step.updated = memory_.overlay->index().Find(step.hash, [](uint32_t) { return true; });
        if (step.updated == BucketIndex::kNoRow) {
          PrefetchRowOf(i);
        } else {
          FetchLines(memory_.overlay->RowAt(step.updated), memory_.overlay->stride());
        }
      }
    }
    if constexpr (kKind == IdKind::kString) {
      for (size_t i = begin; i < end; ++i) FetchString(i);
    }
  }

  /// Which row it says.
  void ReadBucket(Step& step) {
    step.row = BucketIndex::kNoRow;
    // All that Find() reads is in one block.
    if (!Ensure(&memory_.index.Home(step.hash), sizeof(IndexBucket))) return;
    step.row = memory_.index.Find(step.hash, [](uint32_t) { return true; });
  }

  ABSL_ATTRIBUTE_ALWAYS_INLINE void PrefetchRowOf(size_t i) const {
    uint64_t row;
    if constexpr (kKind == IdKind::kDense) {
      row = static_cast<uint64_t>(bags_.ids[i]);
    } else {
      row = steps_[i % kRing].row;
    }
    if (row < memory_.row_count) PrefetchRow(row);
  }

  void FetchString(size_t i) {
    const Step& step = steps_[i % kRing];
    if constexpr (kOverlaid) {
      if (step.updated != BucketIndex::kNoRow) return;
    }
    if (step.row >= memory_.row_count || !Readable(RowAt(step.row))) return;
    uint64_t head[2];
    std::memcpy(head, RowAt(step.row), sizeof(head));
    const uint64_t offset = head[1] >> 16;
    if (head[0] == step.hash && offset < memory_.strings.size()) Prefetch(memory_.strings.data() + offset);
  }

  /// The row of an id of which another one has the same tag: one in 6,500 ids meets one.
  ABSL_ATTRIBUTE_NOINLINE const char* AnotherRow(size_t i, uint64_t hash) {
    const uint32_t row = memory_.index.Find(hash, [&](uint32_t other) { return Is(other, i, hash); });
    return row == BucketIndex::kNoRow || !status_.ok() ? nullptr : RowAt(row) + RowHeadBytes(kKind);
  }

  /// The updated row of id number `i`; null where there is none.
  const char* Updated(size_t i, const Step& step) const {
    const RowOverlay& overlay = *memory_.overlay;
    const auto is_it = [&](uint32_t row) {
      if constexpr (kKind == IdKind::kString) {
        return UpdatedRow::Id(overlay.RowAt(row)) == step.hash && overlay.StringOf(row) == bags_.strings[i];
      } else {
        return UpdatedRow::Id(overlay.RowAt(row)) == static_cast<uint64_t>(bags_.ids[i]);
      }
    };
    if (ABSL_PREDICT_TRUE(is_it(step.updated))) return overlay.RowAt(step.updated);
    const uint32_t row = overlay.index().Find(step.hash, is_it);
    return row == BucketIndex::kNoRow ? nullptr : overlay.RowAt(row);
  }

  /// Whether a row is that of id number `i`.
  ABSL_ATTRIBUTE_ALWAYS_INLINE bool Is(uint32_t row, size_t i, uint64_t hash) {
    if (ABSL_PREDICT_FALSE(row >= memory_.row_count)) {
      if (status_.ok()) {
        status_ = absl::DataLossError(absl::StrCat("the index names row ", row, ", want less than ", memory_.row_count,
                                                   "; build the file again"));
      }
      return false;
    }
    if (!Readable(RowAt(row))) return false;
    uint64_t head[2];
    std::memcpy(head, RowAt(row), RowHeadBytes(kKind));
    if constexpr (kKind == IdKind::kSparse) return head[0] == static_cast<uint64_t>(bags_.ids[i]);
    if constexpr (kKind == IdKind::kString) {
      const absl::string_view id = bags_.strings[i];
      if (head[0] != hash || (head[1] & 0xffff) != id.size()) return false;
      const uint64_t offset = head[1] >> 16;
      if (offset > memory_.strings.size() || id.size() > memory_.strings.size() - offset) return false;
      const char* bytes = memory_.strings.data() + offset;
      return Ensure(bytes, id.size()) && std::memcmp(bytes, id.data(), id.size()) == 0;
    }
    return true;
  }

  const TableSpec& spec_;
  const TableMemory& memory_;
  BlockGate* const gate_;
  const IdBags& bags_;
  const size_t count_;
  const size_t row_bytes_;
  const int64_t now_;
  absl::Status status_;
  Step steps_[kRing];
};

}  // namespace portico
