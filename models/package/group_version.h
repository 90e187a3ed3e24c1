#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "embedding/shard_layout.h"
#include "models/package/shard_package.h"

namespace portico {

/// What lies in the folders of one version of a table group, all its shards.
struct GroupVersion {
  std::string group;
  uint32_t shards = 1;
  int64_t version = 0;
  // One for each shard:
  std::vector<TableLookupSpec> specs;
  std::vector<ShardParts> parts;
  std::vector<ShardLayout> layouts;

  /// The newest version of the set that counts. NOT_FOUND where there is none.
  static absl::StatusOr<GroupVersion> Newest(const std::string& group);
  /// INVALID_ARGUMENT also where the shards have not the same tables.
  static absl::StatusOr<GroupVersion> Read(const std::string& group, uint32_t shards, int64_t version);

  /// Rows that a dense table has in a shard, those of deltas included; 0 of other tables.
  absl::StatusOr<uint64_t> DenseRows(uint32_t shard, size_t table) const;
  bool HasDeltas() const;
  uint64_t base_bytes() const;
  absl::StatusOr<uint64_t> DeltaBytes() const;
};

/// Gives a file of one version folder to another, where nothing is copied: a hard link.
absl::Status LinkFile(const std::string& from, const std::string& to);

}  // namespace portico
