#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "embedding/shard_map.h"
#include "router/router.h"

namespace portico {

/// Where the ids of a group with so many shards go. Immutable, thread-safe.
class ShardRoutes {
 public:
  ShardRoutes(const std::string& group, uint32_t shards);

  uint32_t shards() const { return static_cast<uint32_t>(targets_.size()); }
  /// What the shard's calls go to; lives as long as this.
  const RouteTarget& target(uint32_t shard) const { return targets_[shard]; }
  /// Of a bucket: an id's lower 12 bits where it is dense, its hash's upper 12 otherwise.
  uint32_t ShardOf(uint32_t bucket) const { return shard_[bucket]; }
  /// ShardMap::LocalRow(), with what depends on the bucket looked up.
  uint64_t LocalRow(uint64_t id) const {
    const auto bucket = static_cast<uint32_t>(id % ShardMap::kBuckets);
    return id / ShardMap::kBuckets * buckets_of_[shard_[bucket]] + first_[bucket];
  }

 private:
  std::vector<RouteTarget> targets_;
  std::array<uint16_t, ShardMap::kBuckets> shard_;
  /// Row of the bucket's first id.
  std::array<uint16_t, ShardMap::kBuckets> first_;
  /// By shard.
  std::vector<uint32_t> buckets_of_;
};

/// The routes of a group for each number of shards that it has had: the last ones at the cost of a load, others under a
/// lock. They stay as long as this does: people reshard, not requests. Thread-safe.
class GroupRoutes {
 public:
  explicit GroupRoutes(std::string group) : group_(std::move(group)) {}
  GroupRoutes(const GroupRoutes&) = delete;

  const std::string& group() const { return group_; }
  /// REQUIRES: 1 to ShardMap::kMaxShards.
  const ShardRoutes& For(uint32_t shards);

 private:
  const std::string group_;
  std::atomic<const ShardRoutes*> last_{nullptr};
  Mutex mutex_;
  std::vector<std::unique_ptr<const ShardRoutes>> all_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
