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
#include "embedding/table.h"

namespace portico {

/// How many ids each step of the pipeline takes at once. A power of two.
inline constexpr size_t kFinderBlock = 64;

/// Finds the rows of a lookup's ids, in their order, with memory fetched ahead. `kGated`: asks the gate before it
/// reads. For one thread and one lookup.
///
/// Ids are taken in blocks, and each step of a block is a loop of its own with little else in it. A fetch leaves the
/// processor's window only when its page was found, which takes as long as the line itself where tables are large: with
/// the arithmetic of rows between two fetches, a few would be under way at a time; side by side, as many as the
/// processor has page walkers and places for misses (docs/decisions/0030).
///
/// Row() gives the numbers of a row; null for one that is unknown or, where status() says so, cannot be read.
template <IdKind kKind, bool kGated>
class RowFinder {
 public:
  RowFinder(const TableSpec& spec, const TableMemory& memory, BlockGate* gate, const IdBags& bags)
      : spec_(spec),
        memory_(memory),
        gate_(gate),
        bags_(bags),
        count_(bags.count()),
        row_bytes_(RowHeadBytes(kKind) + EncodedBytes(spec.row_type, spec.dim)) {
    First(0);
    First(kFinderBlock);
    Second(0);
  }

  bool IsPadding(size_t i) const {
    if constexpr (kKind == IdKind::kString) return bags_.empty_is_padding && bags_.strings[i].empty();
    return bags_.padding.has_value() && bags_.ids[i] == *bags_.padding;
  }

  /// To be called for each id in turn, before Row(): moves what is further ahead.
  void Advance(size_t i) {
    if (ABSL_PREDICT_TRUE(i % kFinderBlock != 0)) return;
    First(i + 2 * kFinderBlock);
    Second(i + kFinderBlock);
  }

  const char* Row(size_t i) {
    if constexpr (kKind == IdKind::kDense) {
      const auto id = static_cast<uint64_t>(bags_.ids[i]);
      if (ABSL_PREDICT_FALSE(id >= memory_.row_count)) return nullptr;
      return Readable(RowAt(id)) ? RowAt(id) : nullptr;
    } else {
      const Step& step = steps_[i % kRing];
      if (step.row == BucketIndex::kNoRow) return nullptr;
      if (ABSL_PREDICT_TRUE(Is(step.row, i, step.hash))) return RowAt(step.row) + RowHeadBytes(kKind);
      if (!status_.ok()) return nullptr;
      // Another id with the same tag: one in 6,500 ids meets one.
      const uint32_t row = memory_.index.Find(step.hash, [&](uint32_t other) { return Is(other, i, step.hash); });
      return row == BucketIndex::kNoRow || !status_.ok() ? nullptr : RowAt(row) + RowHeadBytes(kKind);
    }
  }

  const absl::Status& status() const { return status_; }

 private:
  static constexpr size_t kRing = 4 * kFinderBlock;
  struct Step {
    uint64_t hash;
    /// The first whose tag fits.
    uint32_t row;
  };

  const char* RowAt(uint64_t row) const { return memory_.rows + row * memory_.stride; }

  // Into the second-level cache, which has more fetches under way than the first (docs/decisions/0030). Always inlined:
  // GCC takes a function that only prefetches for one without effects, and leaves calls of it out.
  ABSL_ATTRIBUTE_ALWAYS_INLINE static void Prefetch(const void* at) { __builtin_prefetch(at, 0, 2); }
  ABSL_ATTRIBUTE_ALWAYS_INLINE void PrefetchRow(uint64_t row) const {
    const char* at = RowAt(row);
    const char* const end = at + row_bytes_;
    for (at -= reinterpret_cast<uintptr_t>(at) % 64; at < end; at += 64) Prefetch(at);
  }

  bool Ensure(const void* at, size_t bytes) {
    if constexpr (!kGated) return true;
    if (!status_.ok()) return false;
    status_ = gate_->Ensure(static_cast<const char*>(at), bytes);
    return status_.ok();
  }
  bool Readable(const char* row) { return Ensure(row, row_bytes_); }

  // Of all ids of the block that begins at `begin`:

  /// Fetches the buckets; nothing where the id says which row it is.
  void First(size_t begin) {
    if constexpr (kKind == IdKind::kDense) {
      return;
    } else {
      const size_t end = std::min(begin + kFinderBlock, count_);
      for (size_t i = begin; i < end; ++i) {
        uint64_t hash;
        if constexpr (kKind == IdKind::kSparse) {
          hash = HashId(static_cast<uint64_t>(bags_.ids[i]), spec_.seed);
        } else {
          hash = HashId(bags_.strings[i], spec_.seed);
        }
        steps_[i % kRing].hash = hash;
        Prefetch(&memory_.index.Home(hash));
      }
    }
  }

  /// Reads the buckets, fetches the rows, reads the heads of those with strings, fetches these.
  void Second(size_t begin) {
    const size_t end = std::min(begin + kFinderBlock, count_);
    if constexpr (kKind == IdKind::kDense) {
      for (size_t i = begin; i < end; ++i) {
        const auto id = static_cast<uint64_t>(bags_.ids[i]);
        if (id < memory_.row_count) PrefetchRow(id);
      }
    } else {
      for (size_t i = begin; i < end; ++i) {
        Step& step = steps_[i % kRing];
        step.row = BucketIndex::kNoRow;
        // All that Find() reads is in one block.
        if (!Ensure(&memory_.index.Home(step.hash), sizeof(IndexBucket))) continue;
        step.row = memory_.index.Find(step.hash, [](uint32_t) { return true; });
      }
      for (size_t i = begin; i < end; ++i) {
        const uint32_t row = steps_[i % kRing].row;
        if (row < memory_.row_count) PrefetchRow(row);
      }
    }
    if constexpr (kKind == IdKind::kString) {
      for (size_t i = begin; i < end; ++i) PrefetchString(steps_[i % kRing]);
    }
  }

  void PrefetchString(const Step& step) {
    if (step.row >= memory_.row_count || !Readable(RowAt(step.row))) return;
    uint64_t head[2];
    std::memcpy(head, RowAt(step.row), sizeof(head));
    const uint64_t offset = head[1] >> 16;
    if (head[0] == step.hash && offset < memory_.strings.size()) Prefetch(memory_.strings.data() + offset);
  }

  /// Whether a row is that of id number `i`.
  bool Is(uint32_t row, size_t i, uint64_t hash) {
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
  absl::Status status_;
  Step steps_[kRing];
};

}  // namespace portico
