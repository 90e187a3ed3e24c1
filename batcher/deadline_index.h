#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace portico {

/// The deadlines of calls that wait. Most calls run long before theirs, so that adding and dropping one must cost next
/// to nothing: deadlines stand in chunks of up to kChunk that came one after the other, and are in no order but by the
/// soonest of each chunk. What has passed is found by a look at that of every chunk that still has a call; a chunk is
/// read when one of its deadlines has passed, so each deadline is read kChunk times at most. Not thread-safe.
class DeadlineIndex {
 public:
  static constexpr size_t kChunk = 64;
  /// The chunk of a call.
  using Place = uint32_t;
  /// Of calls whose deadline is infinite: they are not added.
  static constexpr Place kNone = ~Place{0};
  struct Entry {
    absl::Time deadline;
    /// What names the call: its batcher's.
    uint64_t lane = 0;
    uint64_t ticket = 0;
  };

  /// REQUIRES: Drop() follows, once.
  Place Add(const Entry& entry);
  /// A call of that place waits no longer, whether or not it was taken.
  void Drop(Place place);
  /// No deadline of a call that waits is sooner.
  absl::Time soonest() const { return soonest_; }
  /// Takes deadlines that have passed, at most `most`. Some may be of calls that were dropped before. Where fewer come,
  /// soonest() is in the future then. O(calls / kChunk) besides what it takes.
  std::vector<Entry> TakePassed(absl::Time now, size_t most);

 private:
  struct Chunk {
    std::vector<Entry> entries;
    /// Its calls that wait.
    size_t waiting = 0;
  };
  /// Takes what has passed from a chunk.
  void TakeFrom(size_t chunk, absl::Time now, size_t most, std::vector<Entry>* passed);

  std::vector<Chunk> chunks_;
  /// The soonest deadline of each; infinite where it has none.
  std::vector<absl::Time> soonest_of_;
  /// Chunks without calls, but for the open one.
  std::vector<Place> free_;
  /// The chunk that is being filled.
  Place open_ = kNone;
  absl::Time soonest_ = absl::InfiniteFuture();
};

}  // namespace portico
