#include "embedding/group_writer.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "embedding/group_shards.h"
#include "embedding/table_group.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// The number of shards that serve; 0 where there are none yet.
absl::StatusOr<uint32_t> ServingNow(const std::string& group) {
  const absl::StatusOr<uint32_t> serving = ServingShards(group);
  return absl::IsNotFound(serving.status()) ? 0 : serving;
}

}  // namespace

absl::StatusOr<std::unique_ptr<GroupWriter>> GroupWriter::Create(const std::string& group, const Options& options) {
  if (options.version < 1)
    return absl::InvalidArgumentError(absl::StrCat("version: got ", options.version, ", want at least 1"));
  ASSIGN_OR_RETURN(auto staging, options.resumable
                                     ? GroupStaging::Continue(group, options.shards, options.version, options.lock_wait)
                                     : GroupStaging::Create(group, options.shards));
  RETURN_IF_ERROR(staging->CheckFree(options.version));
  RETURN_IF_ERROR(ServingNow(group).status());
  auto writer = std::unique_ptr<GroupWriter>(new GroupWriter(group, std::move(staging), options));
  if (!options.resumable) RETURN_IF_ERROR(writer->MakeFiles());
  return writer;
}

GroupWriter::GroupWriter(std::string group, std::unique_ptr<GroupStaging> staging, const Options& options)
    : group_(std::move(group)),
      options_(options),
      map_(options.shards),
      staging_(std::move(staging)),
      parts_(options.shards) {}

std::string GroupWriter::KeepOf(uint32_t shard) const {
  return options_.resumable ? absl::StrCat(folder(), "/", shard) : "";
}

std::string GroupWriter::FileOf(uint32_t shard) const { return absl::StrCat(StagedFolder(shard), "/", kShardFile); }

ShardWriter::Options GroupWriter::OptionsOf(uint32_t shard) const {
  ShardWriter::Options options;
  options.shard = shard;
  options.shards = options_.shards;
  options.memory_bytes = options_.memory_bytes / options_.shards;
  options.kernels = options_.kernels;
  options.keep = KeepOf(shard);
  return options;
}

absl::Status GroupWriter::MakeFiles() {
  shards_.clear();
  for (uint32_t shard = 0; shard < options_.shards; ++shard) {
    ASSIGN_OR_RETURN(shards_.emplace_back(), ShardWriter::Create(FileOf(shard), OptionsOf(shard)));
  }
  return absl::OkStatus();
}

absl::Status GroupWriter::Continue(TableSpec spec, const std::vector<ShardWriter::Saved>& saved) {
  PORTICO_CHECK(options_.resumable && shards_.empty() && saved.size() == options_.shards);
  uint64_t rows = 0;
  for (uint32_t shard = 0; shard < options_.shards; ++shard) {
    // It may have come as far as that.
    std::error_code error;
    const std::string rows_file = absl::StrCat(KeepOf(shard), ".rows");
    if (!fs::exists(rows_file, error) && fs::exists(FileOf(shard), error)) fs::rename(FileOf(shard), rows_file, error);
    if (error) return ErrnoStatus(error.value(), "go on with", rows_file);
    absl::StatusOr<std::unique_ptr<ShardWriter>> file =
        ShardWriter::Continue(FileOf(shard), OptionsOf(shard), spec, saved[shard]);
    if (!file.ok()) {
      shards_.clear();
      return file.status();
    }
    shards_.push_back(*std::move(file));
    rows += saved[shard].rows;
  }
  RETURN_IF_ERROR(ClearFolders());
  table_ = std::move(spec);
  rows_ = rows;
  return absl::OkStatus();
}

absl::Status GroupWriter::ClearFolders() const {
  for (uint32_t shard = 0; shard < options_.shards; ++shard) {
    std::vector<fs::path> left;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(StagedFolder(shard), error)) left.push_back(entry.path());
    for (const fs::path& path : left) fs::remove(path, error);
    if (error) return ErrnoStatus(error.value(), "clear", StagedFolder(shard));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ShardWriter::Saved>> GroupWriter::Save() {
  std::vector<ShardWriter::Saved> saved;
  for (const auto& shard : shards_) {
    ASSIGN_OR_RETURN(saved.emplace_back(), shard->Save());
  }
  return saved;
}

absl::Status GroupWriter::BeginTable(TableSpec spec) {
  PORTICO_CHECK(!table_.has_value());
  if (shards_.empty()) {
    RETURN_IF_ERROR(ClearFolders());
    RETURN_IF_ERROR(MakeFiles());
  }
  for (const auto& shard : shards_) RETURN_IF_ERROR(shard->BeginTable(spec));
  table_ = std::move(spec);
  rows_ = 0;
  return absl::OkStatus();
}

absl::Status GroupWriter::CheckRows(const ShardWriter::Rows& rows) const {
  const size_t count = rows.values.size() / table_->dim;
  const size_t ids = table_->id_kind == IdKind::kSparse ? count : 0;
  const size_t strings = table_->id_kind == IdKind::kString ? count : 0;
  if (rows.values.size() % table_->dim == 0 && rows.ids.size() == ids && rows.strings.size() == strings)
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "table '", table_->name, "': got ", rows.values.size(), " values, ", rows.ids.size(), " numbers and ",
      rows.strings.size(), " strings as ids, want a multiple of ", table_->dim, ", ", ids, " and ", strings));
}

uint32_t GroupWriter::ShardOf(const ShardWriter::Rows& rows, size_t row) const {
  switch (table_->id_kind) {
    case IdKind::kDense:
      return map_.ShardOfDense(rows_ + row);
    case IdKind::kSparse:
      return map_.ShardOfSparse(rows.ids[row]);
    case IdKind::kString:
      return map_.ShardOfString(rows.strings[row]);
  }
  return 0;
}

absl::Status GroupWriter::Add(const ShardWriter::Rows& rows) {
  PORTICO_CHECK(table_.has_value());
  RETURN_IF_ERROR(CheckRows(rows));
  const size_t dim = table_->dim;
  const size_t count = rows.values.size() / dim;
  if (options_.shards == 1) {
    rows_ += count;
    return shards_[0]->Add(rows);
  }
  // In pieces, so that the copies stay small whatever the caller brings.
  constexpr size_t kPieceNumbers = 1 << 20;
  const size_t piece = std::max<size_t>(1, kPieceNumbers / dim);
  for (size_t begin = 0; begin < count; begin += piece) {
    for (Part& part : parts_) {
      part.ids.clear();
      part.strings.clear();
      part.values.clear();
    }
    for (size_t row = begin; row < std::min(count, begin + piece); ++row) {
      Part& part = parts_[ShardOf(rows, row)];
      if (!rows.ids.empty()) part.ids.push_back(rows.ids[row]);
      if (!rows.strings.empty()) part.strings.push_back(rows.strings[row]);
      part.values.insert(part.values.end(), rows.values.begin() + row * dim, rows.values.begin() + (row + 1) * dim);
    }
    for (uint32_t shard = 0; shard < options_.shards; ++shard) {
      const Part& part = parts_[shard];
      const absl::Status added = shards_[shard]->Add({.ids = part.ids, .strings = part.strings, .values = part.values});
      if (!added.ok()) return WithContext(absl::StrCat("shard ", shard, " of ", options_.shards), added);
    }
  }
  rows_ += count;
  return absl::OkStatus();
}

absl::Status GroupWriter::EndTable() {
  PORTICO_CHECK(table_.has_value());
  for (uint32_t shard = 0; shard < options_.shards; ++shard) {
    const absl::Status ended = shards_[shard]->EndTable();
    if (!ended.ok()) return WithContext(absl::StrCat("shard ", shard, " of ", options_.shards), ended);
  }
  table_.reset();
  return absl::OkStatus();
}

absl::Status GroupWriter::Finish() {
  PORTICO_CHECK(!table_.has_value());
  for (auto& shard : shards_) {
    RETURN_IF_ERROR(shard->Commit());
    shard = nullptr;
  }
  return absl::OkStatus();
}

absl::Status GroupWriter::Commit() {
  PORTICO_CHECK(shards_[0] == nullptr);
  ASSIGN_OR_RETURN(const GroupLock lock, GroupLock::Wait(group_));
  // From here on there may be two sets: without `current` nobody could tell which serves.
  ASSIGN_OR_RETURN(const uint32_t serving, ServingNow(group_));
  if (serving != 0 && serving != options_.shards) RETURN_IF_ERROR(SetServingShards(group_, serving));
  return staging_->Commit(options_.version);
}

}  // namespace portico
