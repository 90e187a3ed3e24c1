#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "base/per_core.h"
#include "embedding/row_cache.h"
#include "embedding/row_type.h"

namespace portico {

struct Revision;

/// Into how many shards the groups of tables are divided, and which version of each shard answers, in each of the
/// revisions that a node can answer from: during a reshard two counts live side by side, and each request goes by that
/// of its own revision. Asked once by every request at a portal of tables, from any thread: each core has a copy, so
/// that a lock is its own nearly always.
class LiveTables {
 public:
  /// What one revision says of a group.
  struct Group {
    uint32_t shards = 0;
    /// By shard: stands for the version of it, pinned by its digest, that requests of the revision are answered from.
    /// Equal numbers, equal rows; a number never comes back for other rows. 0: the revision pins none, or spreads its
    /// requests.
    std::vector<uint64_t> origins;
    /// Rows that portals of this process keep of the group; null: none.
    std::shared_ptr<RowCache> cache;
  };
  struct Found {
    /// Null where the revision has no such group.
    std::shared_ptr<const Group> group;
    /// Whether it is what the request's revision says, and not what a neighbour of it does: origins hold.
    bool exact = false;
  };

  /// `copies`: 0: as many as cores, at most 16.
  explicit LiveTables(int copies = 0) : copies_(copies) {}

  /// `revision` 0, that of a request without one, is the current one; one that is not held any more, or not yet, is the
  /// next older that is, or else the oldest. Neither is exact.
  Found Find(absl::string_view group, uint64_t revision) const;
  /// 0 where the revision has no such group.
  uint32_t ShardsOf(absl::string_view group, uint64_t revision) const;
  /// All counts that are live, each once, that of the newest revision last.
  std::vector<uint32_t> CountsOf(absl::string_view group) const;
  /// Of the current revision: for messages.
  std::vector<std::string> Names() const;
  /// What the group's rows are kept in, as of the current revision, or else of the newest one that has it.
  std::shared_ptr<RowCache> CacheOf(absl::string_view group) const;
  /// Why there is none though the revision says that rows are kept; OK where there is one, or none is wanted.
  absl::Status CacheFaultOf(absl::string_view group) const;
  /// What a table is called in keys of caches (RowCache::Key), the same each time, never 0. For set-up: takes a
  /// lock.
  uint32_t NumberOf(absl::string_view group, absl::string_view table);
  /// Of the rows that came from the table last, of whatever version; kFloat32 until some have. For set-up; what is
  /// returned lives as long as this, and is for whoever asks for rows to read and to set.
  std::atomic<RowType>& RowTypeOf(absl::string_view group, absl::string_view table);

  /// For who follows revisions. `live`: rising, at least one. Caches stay where their size does; the current revision
  /// says how large they are. One that could not be made is tried again.
  void Set(const std::vector<const Revision*>& live, uint64_t current);

 private:
  using Groups = absl::flat_hash_map<std::string, Group>;
  struct Picture {
    uint64_t revision;
    Groups groups;
  };
  struct Pictures {
    std::vector<Picture> rising;
    uint64_t current = 0;

    const Picture& Of(uint64_t revision) const;
  };
  struct Copy {
    Mutex mutex;
    std::shared_ptr<const Pictures> pictures ABSL_GUARDED_BY(mutex);
  };
  struct Cache {
    uint64_t bytes = 0;
    /// Null: `fault` says why, where there are bytes for it.
    std::shared_ptr<RowCache> rows;
    absl::Status fault;
  };
  /// One table, whatever its version.
  struct Known {
    uint32_t number = 0;
    std::atomic<RowType> row_type{RowType::kFloat32};
  };

  std::shared_ptr<const Pictures> Own() const;
  Known& KnownOf(absl::string_view group, absl::string_view table) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// By group, as the live revisions say.
  void SetCaches(const std::vector<const Revision*>& live, uint64_t current) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const PerCore<Copy> copies_;
  /// Of who follows, and of set-up.
  mutable Mutex mutex_;
  /// Of what is live: "clicks.0of2", digest → number.
  std::map<std::pair<std::string, std::string>, uint64_t> origins_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_origin_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, Cache> caches_ ABSL_GUARDED_BY(mutex_);
  /// By group and table; none ever goes.
  std::map<std::pair<std::string, std::string>, Known> known_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
