#include "models/package/group_update.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace portico {
namespace {

std::string DeltaName(int64_t version) { return absl::StrCat("delta.", version); }

}  // namespace

absl::StatusOr<std::unique_ptr<GroupUpdate>> GroupUpdate::Begin(const std::string& group) {
  ASSIGN_OR_RETURN(GroupLock lock, GroupLock::Take(group));
  RETURN_IF_ERROR(GroupStaging::CleanUp(group));
  ASSIGN_OR_RETURN(GroupVersion from, GroupVersion::Newest(group));
  auto update = std::unique_ptr<GroupUpdate>(new GroupUpdate(std::move(lock), std::move(from)));
  const GroupVersion& version = update->from_;
  ASSIGN_OR_RETURN(update->staging_, GroupStaging::Create(group, version.shards));
  RETURN_IF_ERROR(update->staging_->CheckFree(version.version + 1));
  for (uint32_t shard = 0; shard < version.shards; ++shard) {
    DeltaTarget target;
    target.shard = shard;
    target.shards = version.shards;
    target.base = version.parts[shard].content;
    target.state = version.parts[shard].State();
    target.version = version.version;
    // The next version links it: what is broken is not handed on. Those before it were the newest once.
    if (const std::vector<ShardParts::Delta>& linked = version.parts[shard].deltas; !linked.empty())
      RETURN_IF_ERROR(DeltaFile::CheckDigest(linked.back().path, linked.back().digest));
    const std::string path = absl::StrCat(update->staging_->Folder(shard), "/", DeltaName(version.version + 1));
    ASSIGN_OR_RETURN(update->deltas_.emplace_back(), DeltaWriter::Create(path, target));
  }
  return update;
}

const TableSpec* GroupUpdate::FindTable(absl::string_view name) const {
  for (const ShardLayout::Table& table : tables()) {
    if (table.spec.name == name) return &table.spec;
  }
  return nullptr;
}

absl::Status GroupUpdate::BeginTable(absl::string_view name) {
  PORTICO_CHECK(!table_.has_value());
  const TableSpec* const spec = FindTable(name);
  if (spec == nullptr) {
    return absl::NotFoundError(absl::StrCat("table '", name, "': not in group '", from_.group,
                                            "'; 'portico table inspect' lists those of a shard"));
  }
  table_ = 0;
  while (&tables()[*table_].spec != spec) ++*table_;
  rows_before_ = appended_ = 0;
  for (uint32_t shard = 0; shard < from_.shards; ++shard) {
    ASSIGN_OR_RETURN(const uint64_t rows, from_.DenseRows(shard, *table_));
    rows_before_ += rows;
    RETURN_IF_ERROR(deltas_[shard]->BeginTable(*spec, rows));
  }
  rows_after_ = rows_before_;
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> GroupUpdate::Route(DeltaWriter::Id* id) {
  const TableSpec& spec = tables()[*table_].spec;
  if (spec.id_kind == IdKind::kString) return map_.ShardOfString(id->string);
  if (spec.id_kind == IdKind::kSparse) return map_.ShardOfSparse(id->number);
  const auto global = static_cast<uint64_t>(id->number);
  if (id->number < 0 || global >= kMaxTableRows * map_.shards()) {
    return absl::InvalidArgumentError(absl::StrCat("table '", spec.name, "': got id ", id->number, ", want one of its ",
                                                   rows_before_, " rows, from 0, or those behind without gaps"));
  }
  if (global >= rows_before_) {
    ++appended_;
    rows_after_ = std::max(rows_after_, global + 1);
  }
  id->shown = id->number;
  id->number = static_cast<int64_t>(map_.LocalRow(global));
  return map_.ShardOfDense(global);
}

absl::Status GroupUpdate::Upsert(const DeltaWriter::Id& id, absl::Span<const float> values) {
  PORTICO_CHECK(table_.has_value());
  DeltaWriter::Id local = id;
  ASSIGN_OR_RETURN(const uint32_t shard, Route(&local));
  return deltas_[shard]->Upsert(local, values);
}

absl::Status GroupUpdate::Delete(const DeltaWriter::Id& id) {
  PORTICO_CHECK(table_.has_value());
  DeltaWriter::Id local = id;
  ASSIGN_OR_RETURN(const uint32_t shard, Route(&local));
  return deltas_[shard]->Delete(local);
}

absl::Status GroupUpdate::EndTable() {
  PORTICO_CHECK(table_.has_value());
  if (appended_ != rows_after_ - rows_before_) {
    return absl::InvalidArgumentError(absl::StrCat("table '", tables()[*table_].spec.name, "': got ", appended_,
                                                   " new rows up to row ", rows_after_ - 1, ", want all from row ",
                                                   rows_before_, " on: dense ids have no gaps"));
  }
  for (const auto& delta : deltas_) RETURN_IF_ERROR(delta->EndTable());
  table_.reset();
  return absl::OkStatus();
}

absl::Status GroupUpdate::WriteShard(uint32_t shard) {
  const std::string folder = staging_->Folder(shard);
  const TableLookupSpec& spec = from_.specs[shard];
  const ShardParts& parts = from_.parts[shard];
  RETURN_IF_ERROR(LinkFile(parts.base_path, absl::StrCat(folder, "/", spec.file)));
  std::vector<TableLookupSpec::Delta> deltas = spec.deltas;
  for (size_t i = 0; i < deltas.size(); ++i)
    RETURN_IF_ERROR(LinkFile(parts.deltas[i].path, absl::StrCat(folder, "/", deltas[i].file)));
  if (deltas_[shard]->rows() > 0) {
    RETURN_IF_ERROR(deltas_[shard]->Commit());
    const std::string name = DeltaName(from_.version + 1);
    const std::string path = absl::StrCat(folder, "/", name);
    // Read back whole: a version whose delta cannot be read is none.
    ASSIGN_OR_RETURN(const DeltaFile delta, DeltaFile::Read(path));
    RETURN_IF_ERROR(delta.CheckFits(path, from_.layouts[shard], parts.State()));
    deltas.push_back({name, delta.digest});
  }
  deltas_[shard] = nullptr;
  return WriteShardPackage(folder, spec.file, deltas, spec.source);
}

absl::StatusOr<int64_t> GroupUpdate::Commit() {
  PORTICO_CHECK(!table_.has_value());
  uint64_t rows = 0;
  for (const auto& delta : deltas_) rows += delta->rows();
  if (rows == 0) return absl::InvalidArgumentError("got nothing to apply, want upserts or deletes");
  for (uint32_t shard = 0; shard < from_.shards; ++shard) RETURN_IF_ERROR(WriteShard(shard));
  RETURN_IF_ERROR(staging_->Commit(from_.version + 1));
  return from_.version + 1;
}

}  // namespace portico
