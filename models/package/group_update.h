#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "embedding/delta_writer.h"
#include "embedding/group_staging.h"
#include "embedding/shard_map.h"
#include "embedding/table_group.h"
#include "models/package/group_version.h"

namespace portico {

/// Makes the next version of a table group: what did not change as hard links, what did as one delta for each shard
/// that has any of it. All shards have the new version, or none. One at a time for a group, whatever the process; what
/// a killed one left is dealt with first. After an error nothing more may be called. For one thread.
///
///   ASSIGN_OR_RETURN(auto update, GroupUpdate::Begin("tables/clicks"));
///   RETURN_IF_ERROR(update->BeginTable("users"));
///   RETURN_IF_ERROR(update->Upsert({.number = 7}, values));      // ids as callers know them, of the whole group
///   RETURN_IF_ERROR(update->EndTable());
///   ASSIGN_OR_RETURN(const int64_t version, update->Commit());
class GroupUpdate {
 public:
  /// FAILED_PRECONDITION where somebody else is at it; DATA_LOSS where a delta of the newest version is not what its
  /// package says. Reads all deltas.
  static absl::StatusOr<std::unique_ptr<GroupUpdate>> Begin(const std::string& group);

  const std::vector<ShardLayout::Table>& tables() const { return from_.layouts[0].tables; }
  /// Null where there is none of that name.
  const TableSpec* FindTable(absl::string_view name) const;
  absl::Status BeginTable(absl::string_view name);
  /// Errors are those of DeltaWriter.
  absl::Status Upsert(const DeltaWriter::Id& id, absl::Span<const float> values);
  absl::Status Delete(const DeltaWriter::Id& id);
  absl::Status EndTable();
  /// The new version. INVALID_ARGUMENT where nothing was to be done.
  absl::StatusOr<int64_t> Commit();

 private:
  GroupUpdate(GroupLock lock, GroupVersion from) : lock_(std::move(lock)), from_(std::move(from)), map_(from_.shards) {}

  /// Which shard an id belongs to; of dense ids, `id` becomes that of the row there.
  absl::StatusOr<uint32_t> Route(DeltaWriter::Id* id);
  absl::Status WriteShard(uint32_t shard);

  const GroupLock lock_;
  const GroupVersion from_;
  const ShardMap map_;
  std::unique_ptr<GroupStaging> staging_;
  std::vector<std::unique_ptr<DeltaWriter>> deltas_;

  // Of the open table:
  std::optional<size_t> table_;
  uint64_t rows_before_ = 0;
  uint64_t rows_after_ = 0;
  uint64_t appended_ = 0;
};

}  // namespace portico
