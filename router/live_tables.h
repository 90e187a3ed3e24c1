#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "base/per_core.h"

namespace portico {

struct Revision;

/// Into how many shards the groups of tables are divided, in each of the revisions that a node can answer from: during
/// a reshard two counts live side by side, and each request goes by that of its own revision. Asked once by every
/// request at a portal of tables, from any thread: each core has a copy, so that a lock is its own nearly always.
class LiveTables {
 public:
  /// `copies`: 0: as many as cores, at most 16.
  explicit LiveTables(int copies = 0) : copies_(copies) {}

  /// 0 where the revision has no such group. `revision` 0, that of a request without one, is the current one; one that
  /// is not held any more, or not yet, is the next older that is, or else the oldest.
  uint32_t ShardsOf(absl::string_view group, uint64_t revision) const;
  /// All counts that are live, each once, that of the newest revision last.
  std::vector<uint32_t> CountsOf(absl::string_view group) const;
  /// Of the current revision: for messages.
  std::vector<std::string> Names() const;

  /// For who follows revisions. `live`: rising, at least one.
  void Set(const std::vector<const Revision*>& live, uint64_t current);

 private:
  using Groups = absl::flat_hash_map<std::string, uint32_t>;
  struct Picture {
    uint64_t revision;
    Groups groups;
  };
  struct Pictures {
    std::vector<Picture> rising;
    uint64_t current = 0;

    const Groups& Of(uint64_t revision) const;
  };
  struct Copy {
    Mutex mutex;
    std::shared_ptr<const Pictures> pictures ABSL_GUARDED_BY(mutex);
  };

  std::shared_ptr<const Pictures> Own() const;

  const PerCore<Copy> copies_;
};

}  // namespace portico
