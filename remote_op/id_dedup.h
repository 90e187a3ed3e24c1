#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "embedding/id_hash.h"

namespace portico {

/// Numbers distinct ids in the order in which they come. Where an id stands depends on numbers drawn for each object,
/// so that nobody can choose ids that all stand at one place. Memory is kept from one use to the next, and not cleared.
/// For one thread.
///
///   dedup.Begin(most);   for each id: dedup.Fetch(key of a later one), number = dedup.Add(key, same)
class IdDedup {
 public:
  static constexpr uint32_t kFull = UINT32_MAX;

  IdDedup() {
    std::random_device random;
    seed_ = uint64_t{random()} << 32 | random();
    factor_ = (uint64_t{random()} << 32 | random()) | 1;
  }

  /// Forgets all ids; from now on takes `most` distinct ones. REQUIRES: fewer than 2^31.
  void Begin(size_t most) {
    most_ = static_cast<uint32_t>(most);
    count_ = 0;
    const size_t slots = std::bit_ceil(2 * most + kMinSlots);
    if (slots > slots_.size()) {
      slots_ = std::vector<Slot>(slots);
      turn_ = 0;
    }
    if (++turn_ == 0) {
      slots_.assign(slots_.size(), Slot());
      turn_ = 1;
    }
    mask_ = slots - 1;
    shift_ = 64 - std::countr_zero(slots);
  }

  /// Has the place of `key` on its way into the cache.
  void Fetch(uint64_t key) const { __builtin_prefetch(&slots_[Place(key)], 1); }

  /// Gives back what only few requests need.
  void Trim() {
    if (slots_.size() > kKeptSlots) slots_ = {};
  }

  /// The number of an id; kFull where that would be one too many. `key` is the id, or a hash of it, whereupon
  /// `same(number)` says whether the id with this number, which has the same key, is the same.
  template <typename Same>
  uint32_t Add(uint64_t key, const Same& same) {
    for (size_t place = Place(key);; place = (place + 1) & mask_) {
      Slot& slot = slots_[place];
      if (slot.turn != turn_) {
        if (count_ == most_) return kFull;
        slot = {key, count_, turn_};
        return count_++;
      }
      if (slot.key == key && same(slot.number)) return slot.number;
    }
  }
  uint32_t count() const { return count_; }

 private:
  struct Slot {
    uint64_t key = 0;
    uint32_t number = 0;
    /// Which use it is of.
    uint32_t turn = 0;
  };
  static constexpr size_t kMinSlots = 16;
  /// More are given back: 32 MiB.
  static constexpr size_t kKeptSlots = size_t{1} << 21;

  size_t Place(uint64_t key) const { return static_cast<size_t>(HashId(key, seed_) * factor_ >> shift_); }

  uint64_t seed_ = 0;
  uint64_t factor_ = 1;

  std::vector<Slot> slots_;
  size_t mask_ = 0;
  int shift_ = 0;
  uint32_t turn_ = 0;
  uint32_t most_ = 0;
  uint32_t count_ = 0;
};

}  // namespace portico
