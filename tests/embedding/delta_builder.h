#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/check.h"
#include "embedding/delta_writer.h"
#include "embedding/shard_versions.h"
#include "tests/embedding/shard_builder.h"

namespace portico {

/// What a test's delta does to one table: for each id (of strings StringId()) until when its row is there, and the
/// number that all its values are.
struct DeltaTable {
  struct Row {
    int64_t id = 0;
    float value = 0;
    int64_t until = UpdatedRow::kForever;
  };
  TableSpec spec;
  uint64_t rows_before = 0;
  std::vector<Row> rows;
};

/// The delta that follows `parts` in its shard; an error where it cannot be written.
inline absl::Status WriteDelta(const std::string& path, const DeltaTarget& target,
                               const std::vector<DeltaTable>& tables) {
  auto writer = DeltaWriter::Create(path, target);
  if (!writer.ok()) return writer.status();
  for (const DeltaTable& table : tables) {
    absl::Status status = (*writer)->BeginTable(table.spec, table.rows_before);
    for (const DeltaTable::Row& row : table.rows) {
      const std::string text = table.spec.id_kind == IdKind::kString ? StringId(static_cast<size_t>(row.id)) : "";
      const DeltaWriter::Id id{row.id, text, row.until};
      if (!status.ok()) return status;
      status = row.until == UpdatedRow::kDeleted ? (*writer)->Delete(id)
                                                 : (*writer)->Upsert(id, std::vector<float>(table.spec.dim, row.value));
    }
    if (!status.ok()) return status;
    if (status = (*writer)->EndTable(); !status.ok()) return status;
  }
  return (*writer)->Commit();
}

/// Writes it and puts it behind the deltas of `parts`.
inline void AppendDelta(ShardParts& parts, const std::string& path, const std::vector<DeltaTable>& tables) {
  DeltaTarget target;
  target.base = parts.content;
  target.state = parts.State();
  target.version = static_cast<int64_t>(parts.deltas.size()) + 1;
  const absl::Status written = WriteDelta(path, target, tables);
  if (!written.ok()) std::fprintf(stderr, "%s\n", written.ToString().c_str());
  PORTICO_CHECK(written.ok());
  const auto delta = DeltaFile::Read(path);
  if (!delta.ok()) std::fprintf(stderr, "%s\n", delta.status().ToString().c_str());
  PORTICO_CHECK(delta.ok());
  parts.deltas.push_back({path, delta->digest});
}

inline ShardParts PartsOf(const std::string& base_path) {
  ShardParts parts;
  parts.base_path = base_path;
  parts.content = OpenShard(base_path)->layout().content;
  return parts;
}

}  // namespace portico
