#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"

namespace portico {

struct GroupRewriteOptions {
  /// Divided anew into so many; nothing is done where it is already. 0: as many as now, compacted; nothing is done
  /// where there are no deltas.
  uint32_t shards = 0;
  /// Of all deltas becomes one, and the bases stay as they are: costs what was updated, not what there is. With
  /// `shards` 0.
  bool keep_bases = false;
  /// Of ids that wait for their index, in all shards together.
  size_t memory_bytes = size_t{256} << 20;
  /// By which rows expire: those that have are left out.
  const Clock* clock = &Clock::Real();
  /// Rows written of rows in all, about; called now and then.
  std::function<void(uint64_t done, uint64_t all)> progress = [](uint64_t, uint64_t) {};
  /// Called when the rows are written and others may have been applied meanwhile; for tests.
  std::function<void()> before_tail = [] {};
};

/// Writes the newest version of a table group with bases of its own: rows of deltas become rows of the base (but those
/// that will expire, which stay in a delta), deleted ones go. Compacted, in as many shards as now, it is the next
/// version. In another number it is the same version, divided anew beside the old shards, and becomes the set
/// that counts at once. In one pass over all rows. Memory: that of ids, 1 to 2 MB a shard, and the updated rows of all
/// shards, which are held as servers hold them; bases are read in order and not held.
///
/// Updates go on while rows are written; what they brought follows in a delta, the last of it while no other update can
/// run. All of it appears, or nothing. The version. One at a time for a group: FAILED_PRECONDITION where another is at
/// it. ABORTED where the group got other bases meanwhile: run it again. ALREADY_EXISTS where the other number of shards
/// has that version with other rows, or a newer one.
absl::StatusOr<int64_t> RewriteGroup(const std::string& group, const GroupRewriteOptions& options);

}  // namespace portico
