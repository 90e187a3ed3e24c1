#include "models/package/group_version.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "embedding/delta_file.h"
#include "embedding/group_shards.h"
#include "embedding/shard_file.h"
#include "embedding/table_group.h"

namespace portico {
namespace {

absl::StatusOr<ShardLayout> LayoutOf(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open shard file", path);
  absl::Cleanup close_fd = [fd] { close(fd); };
  return ReadShardLayout(fd, path);
}

bool IsSameTable(const TableSpec& a, const TableSpec& b) {
  return a.name == b.name && a.dim == b.dim && a.row_type == b.row_type && a.id_kind == b.id_kind && a.seed == b.seed;
}

}  // namespace

absl::StatusOr<GroupVersion> GroupVersion::Newest(const std::string& group) {
  ASSIGN_OR_RETURN(const uint32_t shards, ServingShards(group));
  ASSIGN_OR_RETURN(const std::vector<int64_t> versions, WholeVersions(group, shards));
  if (versions.empty()) {
    return absl::NotFoundError(
        absl::StrCat("table group '", group, "': got no version that all ", shards, " shards have, want one"));
  }
  return Read(group, shards, versions.back());
}

absl::StatusOr<GroupVersion> GroupVersion::Read(const std::string& group, uint32_t shards, int64_t version) {
  GroupVersion read;
  read.group = group;
  read.shards = shards;
  read.version = version;
  for (uint32_t shard = 0; shard < shards; ++shard) {
    const std::string folder = VersionFolderOf(group, shard, shards, version);
    ASSIGN_OR_RETURN(read.specs.emplace_back(), ReadShardPackage(folder));
    ASSIGN_OR_RETURN(read.parts.emplace_back(), ShardPartsOf(folder, read.specs.back()));
    ASSIGN_OR_RETURN(read.layouts.emplace_back(), LayoutOf(read.parts.back().base_path));
    const ShardLayout& layout = read.layouts.back();
    const auto wrong = [&](const auto&... parts) {
      return absl::InvalidArgumentError(absl::StrCat("shard '", folder, "': ", parts...));
    };
    if (layout.content != read.parts.back().content)
      return wrong("got another shard file than its package names, want content ", read.parts.back().content.Short());
    if (layout.shard != shard || layout.shards != shards)
      return wrong("got a file of shard ", layout.shard, " of ", layout.shards, ", want ", shard, " of ", shards);
    bool same = layout.tables.size() == read.layouts[0].tables.size();
    for (size_t i = 0; same && i < layout.tables.size(); ++i)
      same = IsSameTable(layout.tables[i].spec, read.layouts[0].tables[i].spec);
    if (!same) return wrong("got other tables than in shard 0, want the same in all of them");
  }
  return read;
}

absl::StatusOr<uint64_t> GroupVersion::DenseRows(uint32_t shard, size_t table) const {
  const ShardLayout::Table& base = layouts[shard].tables[table];
  if (base.spec.id_kind != IdKind::kDense) return 0;
  // The last delta that has rows of it knows.
  const std::vector<ShardParts::Delta>& deltas = parts[shard].deltas;
  for (auto delta = deltas.rbegin(); delta != deltas.rend(); ++delta) {
    ASSIGN_OR_RETURN(const std::vector<DeltaFile::Table> tables, DeltaFile::ReadTables(delta->path));
    for (const DeltaFile::Table& other : tables) {
      if (other.spec.name == base.spec.name) return other.rows_after;
    }
  }
  return base.row_count;
}

bool GroupVersion::HasDeltas() const {
  return absl::c_any_of(parts, [](const ShardParts& shard) { return !shard.deltas.empty(); });
}

uint64_t GroupVersion::base_bytes() const {
  uint64_t bytes = 0;
  for (const ShardLayout& layout : layouts) bytes += layout.file_bytes;
  return bytes;
}

absl::StatusOr<uint64_t> GroupVersion::DeltaBytes() const {
  uint64_t bytes = 0;
  for (const ShardParts& shard : parts) {
    for (const ShardParts::Delta& delta : shard.deltas) {
      std::error_code error;
      bytes += std::filesystem::file_size(delta.path, error);
      if (error) return ErrnoStatus(error.value(), "look at", delta.path);
    }
  }
  return bytes;
}

absl::Status LinkFile(const std::string& from, const std::string& to) {
  return link(from.c_str(), to.c_str()) == 0 ? absl::OkStatus() : ErrnoStatus(errno, "link", to);
}

}  // namespace portico
