#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "embedding/id_hash.h"

namespace portico {

/// Which shard of a table group has which row: every id belongs to one of 4,096 buckets, every bucket to one shard.
/// Part of the format of table groups, so none of it ever changes. A value; constant.
///
/// A dense id's bucket is its lower 12 bits, so that neighbours, which are often of like popularity, part; a sparse or
/// string id's are the upper 12 bits of its hash with kRoutingSeed. Bucket b belongs to shard b mod shards.
class ShardMap {
 public:
  static constexpr uint32_t kBuckets = 4096;
  static constexpr uint32_t kMaxShards = 1024;
  static constexpr uint64_t kRoutingSeed = 0x706f727469636f21;

  /// REQUIRES: 1 to kMaxShards.
  explicit constexpr ShardMap(uint32_t shards) : shards_(shards) {}

  uint32_t shards() const { return shards_; }
  uint32_t ShardOfDense(uint64_t id) const { return static_cast<uint32_t>(id % kBuckets) % shards_; }
  uint32_t ShardOfSparse(int64_t id) const {
    return static_cast<uint32_t>(HashId(static_cast<uint64_t>(id), kRoutingSeed) >> 52) % shards_;
  }
  uint32_t ShardOfString(absl::string_view id) const {
    return static_cast<uint32_t>(HashId(id, kRoutingSeed) >> 52) % shards_;
  }

  /// Buckets of a shard.
  uint32_t BucketsOf(uint32_t shard) const { return (kBuckets - shard + shards_ - 1) / shards_; }
  /// Which row of its shard a dense id is: ids of a shard keep their order, without gaps.
  uint64_t LocalRow(uint64_t id) const {
    const auto bucket = static_cast<uint32_t>(id % kBuckets);
    return id / kBuckets * BucketsOf(bucket % shards_) + bucket / shards_;
  }
  /// Its inverse.
  uint64_t DenseId(uint32_t shard, uint64_t row) const {
    const uint32_t buckets = BucketsOf(shard);
    return row / buckets * kBuckets + row % buckets * shards_ + shard;
  }
  /// How many of the dense ids below `rows` a shard has.
  uint64_t RowsOf(uint32_t shard, uint64_t rows) const {
    const uint64_t rest = rows % kBuckets;
    return rows / kBuckets * BucketsOf(shard) + (rest > shard ? (rest - shard + shards_ - 1) / shards_ : 0);
  }

 private:
  uint32_t shards_;
};

/// What the servable of a group's shard is called: "clicks.0of4".
std::string ShardName(absl::string_view group, uint32_t shard, uint32_t shards);

}  // namespace portico
