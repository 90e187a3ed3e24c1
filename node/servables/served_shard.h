#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "embedding/scrubber.h"
#include "embedding/shard_versions.h"
#include "models/package/shard_package.h"

namespace portico {

/// A version of a shard that a node serves: its file mapped, what deltas brought in memory, with a scrubber that
/// verifies in the background what no request has wanted yet. Opening reads superblock and directory alone. Owned by
/// the op that looks up in it; thread-safe.
class ServedShard {
 public:
  struct Options {
    /// Scrubbing gives way to serving anyhow; this is for the disk. 0: as fast as that goes.
    uint64_t scrub_bytes_per_second = uint64_t{256} << 20;
    bool scrub = true;
  };
  /// What a table has where.
  struct TableBytes {
    uint64_t file = 0;
    /// Of these, in memory: ResidentBytes().
    uint64_t resident = 0;
    /// Of these, on huge pages.
    uint64_t huge = 0;
  };

  /// The version of a shard that the package in `folder` is of, which shares what it can with others that `store` has
  /// open. FAILED_PRECONDITION where files are not those that the package is of. `store` and `clock` must outlive it.
  static absl::StatusOr<std::unique_ptr<ServedShard>> Open(const std::string& folder, const TableLookupSpec& spec,
                                                           const Options& options, ShardStore& store,
                                                           const Clock& clock);

  const ShardFile& file() const { return version_->base(); }
  /// The tables, with all updates up to this version.
  const ShardVersion& version() const { return *version_; }
  /// Whether what was read of it once may be expected to be in memory still: all shards of the process together have at
  /// most half of what it may take.
  bool stays_in_memory() const;
  /// One for each of the file's tables. What is in memory is asked for every ten seconds at most.
  std::vector<TableBytes> Bytes() const;
  /// Writes to the log that blocks have broken, where more have than it said before: `what` tells of one.
  void NoteBroken(const absl::Status& what) const;

 private:
  ServedShard(std::shared_ptr<const ShardVersion> version, const Options& options, const ShardStore& store,
              const Clock& clock);

  const std::shared_ptr<const ShardVersion> version_;
  const ShardStore& store_;
  const Clock& clock_;
  mutable std::atomic<uint64_t> broken_told_{0};
  mutable Mutex mutex_;
  mutable absl::Time bytes_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  mutable std::vector<TableBytes> bytes_ ABSL_GUARDED_BY(mutex_);
  /// Last: it reads the file.
  std::unique_ptr<Scrubber> scrubber_;
};

}  // namespace portico
