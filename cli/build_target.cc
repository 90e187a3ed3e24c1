#include "cli/build_target.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "embedding/build_checkpoint.h"
#include "embedding/group_writer.h"
#include "embedding/staging_folder.h"
#include "models/package/shard_package.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

absl::Status CheckShards(const std::vector<ShardWriter::Saved>& saved, uint32_t shards) {
  if (saved.size() == shards) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("checkpoint: got ", saved.size(), " shards, want ", shards));
}

class FileTarget final : public BuildTarget {
 public:
  FileTarget(std::string path, StagingFolder folder, uint64_t memory_bytes)
      : path_(std::move(path)), folder_(std::move(folder)) {
    options_.memory_bytes = memory_bytes;
    options_.keep = (folder_.path() / "0").string();
  }

  absl::Status Begin(const TableSpec& spec, const std::vector<ShardWriter::Saved>* saved) override {
    if (saved != nullptr) {
      RETURN_IF_ERROR(CheckShards(*saved, 1));
      if (IsInPlace()) return absl::OkStatus();
      ASSIGN_OR_RETURN(writer_, ShardWriter::Continue(path_, options_, spec, saved->front()));
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(writer_, ShardWriter::Create(path_, options_));
    return writer_->BeginTable(spec);
  }
  absl::Status Add(const ShardWriter::Rows& rows) override {
    // The checkpoint of a file in place is of all rows.
    PORTICO_CHECK(writer_ != nullptr);
    return writer_->Add(rows);
  }
  absl::StatusOr<std::vector<ShardWriter::Saved>> Save() override {
    ASSIGN_OR_RETURN(const ShardWriter::Saved saved, writer_->Save());
    return std::vector<ShardWriter::Saved>{saved};
  }
  absl::Status Finish() override {
    if (writer_ != nullptr) {
      RETURN_IF_ERROR(writer_->EndTable());
      NameWhole();
      RETURN_IF_ERROR(writer_->Commit());
    }
    return BuildCheckpoint::Remove(folder());
  }
  std::string folder() const override { return folder_.path().string(); }

 private:
  std::string RowsFile() const { return absl::StrCat(options_.keep, ".rows"); }
  std::string WholeFile() const { return absl::StrCat(options_.keep, ".whole"); }

  /// Gives the file of rows a second name, by which it is known once it has the name of OUT.
  void NameWhole() const {
    // Without it, as where the file system has none, a build that is killed behind Commit() begins anew.
    std::error_code ignored;
    fs::remove(WholeFile(), ignored);
    fs::create_hard_link(RowsFile(), WholeFile(), ignored);
  }
  /// Whether a build was killed between Commit() and the end of its checkpoint: OUT is the very file that was named.
  bool IsInPlace() const {
    std::error_code ignored;
    return !fs::exists(RowsFile(), ignored) && fs::equivalent(WholeFile(), path_, ignored);
  }

  const std::string path_;
  ShardWriter::Options options_;
  /// Outlives the files in it.
  const StagingFolder folder_;
  std::unique_ptr<ShardWriter> writer_;
};

class GroupTarget final : public BuildTarget {
 public:
  GroupTarget(std::unique_ptr<GroupWriter> writer, uint32_t shards) : writer_(std::move(writer)), shards_(shards) {}

  absl::Status Begin(const TableSpec& spec, const std::vector<ShardWriter::Saved>* saved) override {
    if (saved == nullptr) return writer_->BeginTable(spec);
    RETURN_IF_ERROR(CheckShards(*saved, shards_));
    return writer_->Continue(spec, *saved);
  }
  absl::Status Add(const ShardWriter::Rows& rows) override { return writer_->Add(rows); }
  absl::StatusOr<std::vector<ShardWriter::Saved>> Save() override { return writer_->Save(); }
  absl::Status Finish() override {
    RETURN_IF_ERROR(writer_->EndTable());
    RETURN_IF_ERROR(writer_->Finish());
    for (uint32_t shard = 0; shard < shards_; ++shard) {
      RETURN_IF_ERROR(WriteShardPackage(writer_->StagedFolder(shard)));
    }
    return writer_->Commit();
  }
  std::string folder() const override { return writer_->folder(); }

 private:
  const std::unique_ptr<GroupWriter> writer_;
  const uint32_t shards_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<BuildTarget>> OpenTarget(const TableBuild& build) {
  if (!build.package) {
    ASSIGN_OR_RETURN(StagingFolder folder,
                     StagingFolder::Open(absl::StrCat(build.out, ".unfinished"), build.lock_wait));
    return std::make_unique<FileTarget>(build.out, std::move(folder), build.memory_bytes);
  }
  GroupWriter::Options options;
  options.shards = build.shards;
  options.version = build.version;
  options.memory_bytes = build.memory_bytes;
  options.resumable = true;
  options.lock_wait = build.lock_wait;
  ASSIGN_OR_RETURN(auto writer, GroupWriter::Create(build.out, options));
  return std::make_unique<GroupTarget>(std::move(writer), build.shards);
}

}  // namespace portico
