#include "embedding/group_writer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/sync_folder.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

/// Being written: "<prefix>XXXXXX".
constexpr absl::string_view kBuilding = ".building-";
/// Whole, to be moved: "<prefix>SHARDS-VERSION".
constexpr absl::string_view kReady = ".ready-";

/// Opened and locked; −1 where somebody else has it, or it is gone.
int LockFolder(const fs::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return -1;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  close(fd);
  return -1;
}

absl::Status Rename(const fs::path& from, const fs::path& to) {
  if (rename(from.c_str(), to.c_str()) != 0) return ErrnoStatus(errno, "renaming to", to.string());
  return absl::OkStatus();
}

/// Moves what is left in a whole set of `shards` version folders to where it belongs.
absl::Status MoveShards(const fs::path& ready, const fs::path& group, uint32_t shards, int64_t version) {
  for (uint32_t shard = 0; shard < shards; ++shard) {
    const std::string name = ShardFolder(shard, shards);
    std::error_code error;
    if (!fs::exists(ready / name, error)) continue;  // moved before
    fs::create_directories(group / name, error);
    if (error) return ErrnoStatus(error.value(), "folder", (group / name).string());
    RETURN_IF_ERROR(Rename(ready / name, group / name / absl::StrCat(version)));
    RETURN_IF_ERROR(SyncFolder(group / name));
  }
  RETURN_IF_ERROR(SyncFolder(group));
  std::error_code error;
  fs::remove(ready, error);
  return error ? ErrnoStatus(error.value(), "folder", ready.string()) : absl::OkStatus();
}

/// Deals with what killed writers left: what is whole is moved, the rest removed.
absl::Status CleanUp(const fs::path& group) {
  std::vector<fs::path> hidden;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(group, error)) {
    const std::string name = entry.path().filename().string();
    if (absl::StartsWith(name, kBuilding) || absl::StartsWith(name, kReady)) hidden.push_back(entry.path());
  }
  if (error) return ErrnoStatus(error.value(), "folder", group.string());
  for (const fs::path& folder : hidden) {
    const int fd = LockFolder(folder);
    if (fd < 0) continue;
    absl::Status status;
    const std::string name = folder.filename().string();
    const std::vector<std::string> words =
        absl::StrSplit(absl::string_view(name).substr(absl::StartsWith(name, kReady) ? kReady.size() : 0), '-');
    uint32_t shards = 0;
    int64_t version = 0;
    if (!absl::StartsWith(name, kReady)) {
      fs::remove_all(folder, error);
    } else if (words.size() == 2 && absl::SimpleAtoi(words[0], &shards) && absl::SimpleAtoi(words[1], &version) &&
               shards <= ShardMap::kMaxShards) {
      status = MoveShards(folder, group, shards, version);
    }
    close(fd);
    RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

}  // namespace

std::string ShardFolder(uint32_t shard, uint32_t shards) { return absl::StrCat(shard, "of", shards); }

absl::StatusOr<std::unique_ptr<GroupWriter>> GroupWriter::Create(const std::string& group, const Options& options) {
  if (options.shards < 1 || options.shards > ShardMap::kMaxShards) {
    return absl::InvalidArgumentError(
        absl::StrCat("shards: got ", options.shards, ", want 1 to ", ShardMap::kMaxShards));
  }
  if (options.version < 1)
    return absl::InvalidArgumentError(absl::StrCat("version: got ", options.version, ", want at least 1"));
  auto writer = std::unique_ptr<GroupWriter>(new GroupWriter(group, options));
  std::error_code error;
  writer->made_group_ = fs::create_directories(group, error);
  if (error) return ErrnoStatus(error.value(), "folder", group);
  RETURN_IF_ERROR(CleanUp(writer->group_));
  for (uint32_t shard = 0; shard < options.shards; ++shard) {
    const fs::path folder = writer->group_ / ShardFolder(shard, options.shards) / absl::StrCat(options.version);
    if (fs::exists(fs::symlink_status(folder, error))) {
      return absl::AlreadyExistsError(
          absl::StrCat("folder '", folder.string(), "': got a shard there, want none; choose another --version"));
    }
  }
  ASSIGN_OR_RETURN(const std::string staging, MakeUniqueFolder(absl::StrCat(group, "/", kBuilding)));
  writer->staging_ = staging;
  writer->staging_fd_ = LockFolder(staging);
  if (writer->staging_fd_ < 0) return ErrnoStatus(errno, "lock", staging);
  ShardWriter::Options shard_options;
  shard_options.shards = options.shards;
  shard_options.memory_bytes = options.memory_bytes / options.shards;
  shard_options.kernels = options.kernels;
  for (uint32_t& shard = shard_options.shard; shard < options.shards; ++shard) {
    const std::string folder = writer->StagedFolder(shard);
    if (!fs::create_directory(folder, error)) return ErrnoStatus(error.value(), "folder", folder);
    ASSIGN_OR_RETURN(auto file, ShardWriter::Create(absl::StrCat(folder, "/", kTableFile), shard_options));
    writer->shards_.push_back(std::move(file));
  }
  return writer;
}

GroupWriter::GroupWriter(fs::path group, const Options& options)
    : group_(std::move(group)), options_(options), map_(options.shards), parts_(options.shards) {}

GroupWriter::~GroupWriter() {
  shards_.clear();
  std::error_code ignored;
  if (!staging_.empty()) fs::remove_all(staging_, ignored);
  if (staging_fd_ >= 0) close(staging_fd_);
  // Only where it is empty.
  if (made_group_) fs::remove(group_, ignored);
}

std::string GroupWriter::StagedFolder(uint32_t shard) const {
  return (staging_ / ShardFolder(shard, options_.shards)).string();
}

absl::Status GroupWriter::BeginTable(TableSpec spec) {
  PORTICO_CHECK(!table_.has_value());
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
  for (uint32_t shard = 0; shard < options_.shards; ++shard) RETURN_IF_ERROR(SyncFolder(StagedFolder(shard)));
  RETURN_IF_ERROR(SyncFolder(staging_));
  const fs::path ready = group_ / absl::StrCat(kReady, options_.shards, "-", options_.version);
  RETURN_IF_ERROR(Rename(staging_, ready));
  staging_.clear();
  // From here on all of it is there: whoever comes next goes on where this one stops.
  made_group_ = false;
  RETURN_IF_ERROR(SyncFolder(group_));
  return MoveShards(ready, group_, options_.shards, options_.version);
}

}  // namespace portico
