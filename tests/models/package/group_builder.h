#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "embedding/group_shards.h"
#include "embedding/group_writer.h"
#include "models/package/group_rewrite.h"
#include "models/package/group_update.h"
#include "tests/embedding/shard_builder.h"

namespace portico {

/// Ids of a test's table of that kind, by number.
inline int64_t NumberId(const TableSpec& spec, size_t row) {
  return spec.id_kind == IdKind::kSparse ? SparseId(row) : static_cast<int64_t>(row);
}

/// A group whose tables have RowValues() rows, version 1 of all its shards.
inline absl::Status BuildGroup(const std::string& group, uint32_t shards,
                               const std::vector<std::pair<TableSpec, size_t>>& tables, const Digest& source = {}) {
  auto writer = GroupWriter::Create(group, {.shards = shards});
  if (!writer.ok()) return writer.status();
  for (const auto& [spec, rows] : tables) {
    absl::Status status = (*writer)->BeginTable(spec);
    for (size_t row = 0; status.ok() && row < rows; ++row) {
      const std::vector<int64_t> ids = {NumberId(spec, row)};
      const std::string text = StringId(row);
      const std::vector<absl::string_view> strings = {text};
      const std::vector<float> values = RowValues(row, spec.dim);
      ShardWriter::Rows one;
      one.values = values;
      if (spec.id_kind == IdKind::kSparse) one.ids = ids;
      if (spec.id_kind == IdKind::kString) one.strings = strings;
      status = (*writer)->Add(one);
    }
    if (!status.ok()) return status;
    if (status = (*writer)->EndTable(); !status.ok()) return status;
  }
  if (absl::Status status = (*writer)->Finish(); !status.ok()) return status;
  for (uint32_t shard = 0; shard < shards; ++shard) {
    if (absl::Status status = WriteShardPackage((*writer)->StagedFolder(shard), kShardFile, {}, source); !status.ok())
      return status;
  }
  return (*writer)->Commit();
}

/// A change of row number `row` of a test's table: all its values become `value`; none: it is deleted.
struct RowChange {
  size_t row = 0;
  std::optional<float> value;
  int64_t until = UpdatedRow::kForever;
};

/// Applies changes of one table; the new version.
inline absl::StatusOr<int64_t> ApplyChanges(const std::string& group, const std::string& table,
                                            const std::vector<RowChange>& changes) {
  auto update = GroupUpdate::Begin(group);
  if (!update.ok()) return update.status();
  absl::Status status = (*update)->BeginTable(table);
  if (!status.ok()) return status;
  const TableSpec& spec = *(*update)->FindTable(table);
  for (const RowChange& change : changes) {
    const std::string text = StringId(change.row);
    const DeltaWriter::Id id{NumberId(spec, change.row), text, change.until};
    status = change.value.has_value() ? (*update)->Upsert(id, std::vector<float>(spec.dim, *change.value))
                                      : (*update)->Delete(id);
    if (!status.ok()) return status;
  }
  if (status = (*update)->EndTable(); !status.ok()) return status;
  return (*update)->Commit();
}

/// Every row of a table of a group, as one version has it: what all its shards together answer. Checks on the way that
/// exactly one shard has each row.
class OpenGroup {
 public:
  static absl::StatusOr<OpenGroup> Open(const std::string& group, std::optional<int64_t> version = {},
                                        ShardStore* store = nullptr) {
    ShardStore own;
    OpenGroup opened;
    const auto shards = ServingShards(group);
    if (!shards.ok()) return shards.status();
    auto from = version.has_value() ? GroupVersion::Read(group, *shards, *version) : GroupVersion::Newest(group);
    if (!from.ok()) return from.status();
    opened.version_ = *std::move(from);
    for (const ShardParts& parts : opened.version_->parts) {
      auto shard = (store == nullptr ? own : *store).Open(parts);
      if (!shard.ok()) return shard.status();
      if (absl::Status whole = (*shard)->base().Verify([](uint64_t) { return true; }); !whole.ok()) return whole;
      opened.shards_.push_back(*std::move(shard));
    }
    return opened;
  }

  /// The values of a row; none where no shard has it.
  std::optional<std::vector<float>> Row(const std::string& table, size_t row) const {
    const TableSpec& spec = shards_[0]->Find(table)->spec();
    const ShardMap map(version_->shards);
    int64_t id = NumberId(spec, row);
    uint32_t shard = 0;
    const std::string text = StringId(row);
    const absl::string_view view = text;
    switch (spec.id_kind) {
      case IdKind::kDense:
        shard = map.ShardOfDense(row);
        id = static_cast<int64_t>(map.LocalRow(row));
        break;
      case IdKind::kSparse:
        shard = map.ShardOfSparse(id);
        break;
      case IdKind::kString:
        shard = map.ShardOfString(text);
        break;
    }
    IdBags bags;
    if (spec.id_kind == IdKind::kString) {
      bags.strings = absl::MakeConstSpan(&view, 1);
    } else {
      bags.ids = absl::MakeConstSpan(&id, 1);
    }
    std::vector<float> out(spec.dim);
    const auto counts = shards_[shard]->Find(table)->Lookup(bags, Pooling::kNone, absl::MakeSpan(out));
    if (!counts.ok()) std::fprintf(stderr, "%s\n", counts.status().ToString().c_str());
    PORTICO_CHECK(counts.ok());
    if (counts->unknown == 1) return std::nullopt;
    return out;
  }

  const GroupVersion& version() const { return *version_; }
  const std::vector<std::shared_ptr<const ShardVersion>>& shards() const { return shards_; }

 private:
  std::optional<GroupVersion> version_;
  std::vector<std::shared_ptr<const ShardVersion>> shards_;
};

/// What a test's table should have: what it was built with, and changes on top.
class ExpectedTable {
 public:
  ExpectedTable(const TableSpec& spec, size_t rows) : spec_(spec), rows_(rows) {}
  void Apply(const std::vector<RowChange>& changes) {
    for (const RowChange& change : changes) changed_[change.row] = change.value;
  }
  std::optional<std::vector<float>> Row(size_t row) const {
    const auto found = changed_.find(row);
    if (found != changed_.end()) {
      if (!found->second.has_value()) return std::nullopt;
      return std::vector<float>(spec_.dim, *found->second);
    }
    if (row < rows_) return RowValues(row, spec_.dim);
    return std::nullopt;
  }
  /// The first row that `group` has otherwise, of those below `end`.
  std::optional<size_t> FirstDifference(const OpenGroup& group, size_t end) const {
    for (size_t row = 0; row < end; ++row) {
      if (group.Row(spec_.name, row) != Row(row)) return row;
    }
    return std::nullopt;
  }
  const TableSpec& spec() const { return spec_; }

 private:
  const TableSpec spec_;
  const size_t rows_;
  std::map<size_t, std::optional<float>> changed_;
};

}  // namespace portico
