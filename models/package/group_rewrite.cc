#include "models/package/group_rewrite.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "embedding/delta_writer.h"
#include "embedding/group_shards.h"
#include "embedding/group_staging.h"
#include "embedding/shard_map.h"
#include "embedding/shard_writer.h"
#include "embedding/table_group.h"
#include "embedding/table_scan.h"
#include "models/package/group_version.h"

namespace portico {
namespace {

constexpr uint64_t kProgressRows = 1 << 14;
/// In a version folder of shard 0 that a reshard wrote: StateOf() what it was made of.
constexpr absl::string_view kSourceFile = "source";
constexpr uint64_t kMaxSourceBytes = 256;

using Versions = std::vector<std::shared_ptr<const ShardVersion>>;

absl::StatusOr<Versions> OpenAll(const GroupVersion& from, ShardStore& store) {
  Versions versions;
  for (const ShardParts& parts : from.parts) {
    ASSIGN_OR_RETURN(versions.emplace_back(), store.Open(parts));
  }
  return versions;
}

/// Of all rows of a version: another wherever one is.
Digest StateOf(const GroupVersion& version) {
  Hasher hasher;
  for (const ShardParts& parts : version.parts) hasher.Add(parts.State());
  return hasher.Finish();
}

/// Whether a version was made by dividing `source` anew.
absl::StatusOr<bool> IsMadeOf(const GroupVersion& version, const GroupVersion& source) {
  const std::string folder = VersionFolderOf(version.group, 0, version.shards, version.version);
  const absl::StatusOr<std::string> text = ReadFile(absl::StrCat(folder, "/", kSourceFile), kMaxSourceBytes);
  if (absl::IsNotFound(text.status())) return false;
  RETURN_IF_ERROR(text.status());
  return *text == StateOf(source).Hex();
}

/// Whether `shards` of the newest version are there already, made of it or it of them. ALREADY_EXISTS where versions of
/// other content, or newer ones, stand in the way.
absl::StatusOr<bool> IsDivided(const GroupVersion& from, uint32_t shards) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> there, WholeVersions(from.group, shards));
  if (there.empty() || there.back() < from.version) return false;
  if (there.back() == from.version) {
    ASSIGN_OR_RETURN(const GroupVersion other, GroupVersion::Read(from.group, shards, from.version));
    ASSIGN_OR_RETURN(const bool made_of_it, IsMadeOf(other, from));
    ASSIGN_OR_RETURN(const bool it_of_them, IsMadeOf(from, other));
    if (made_of_it || it_of_them) return true;
  }
  return absl::AlreadyExistsError(absl::StrCat(
      "folders '", ShardPathOf(from.group, 0, shards), "' to '", ShardPathOf(from.group, shards - 1, shards),
      "': got version ", there.back(), " of other rows than version ", from.version, " of the ", from.shards,
      " shards that serve, want no such version; remove these folders where no revision names them"));
}

/// One group's rows on their way from some shards to others.
class GroupRewriter {
 public:
  GroupRewriter(GroupVersion from, uint32_t shards, const GroupRewriteOptions& options)
      : options_(options),
        now_(absl::ToUnixSeconds(options.clock->Now())),
        from_(std::move(from)),
        old_map_(from_.shards),
        map_(shards),
        store_(ShardStore::Options{.file = {.sequential = true}, .clock = options.clock}),
        parts_(shards),
        packaged_(shards) {}

  /// In place of WriteBases(): what is there already, and all updates in one delta.
  absl::Status LinkBases(const GroupStaging& staging) {
    ASSIGN_OR_RETURN(versions_, OpenAll(from_, store_));
    for (uint32_t shard = 0; shard < map_.shards(); ++shard) {
      parts_[shard].base_path = absl::StrCat(staging.Folder(shard), "/", kShardFile);
      parts_[shard].content = from_.parts[shard].content;
      RETURN_IF_ERROR(LinkFile(from_.parts[shard].base_path, parts_[shard].base_path));
    }
    return WriteDeltas(staging, absl::StrCat("delta.", from_.version), [this](DeltaWriters& writers) {
      for (size_t table = 0; table < Tables().size(); ++table) {
        for (uint32_t shard = 0; shard < map_.shards(); ++shard) {
          const ShardLayout::Table& base = from_.layouts[shard].tables[table];
          RETURN_IF_ERROR(writers[shard]->BeginTable(base.spec, base.row_count));
          const RowOverlay* const overlay = versions_[shard]->overlays()[table].get();
          if (overlay != nullptr) {
            RETURN_IF_ERROR(
                overlay->ForEach([&](uint32_t row) { return Copy(base.spec, *overlay, row, shard, writers); }));
          }
          RETURN_IF_ERROR(writers[shard]->EndTable());
        }
      }
      return absl::OkStatus();
    });
  }

  absl::Status WriteBases(const GroupStaging& staging) {
    ASSIGN_OR_RETURN(versions_, OpenAll(from_, store_));
    for (const auto& version : versions_) {
      for (const auto& table : version->tables()) all_ += table->memory().all_rows();
    }
    std::vector<std::unique_ptr<ShardWriter>> writers;
    for (uint32_t shard = 0; shard < map_.shards(); ++shard) {
      parts_[shard].base_path = absl::StrCat(staging.Folder(shard), "/", kShardFile);
      ShardWriter::Options options;
      options.shard = shard;
      options.shards = map_.shards();
      options.memory_bytes = options_.memory_bytes / map_.shards();
      ASSIGN_OR_RETURN(writers.emplace_back(), ShardWriter::Create(parts_[shard].base_path, options));
    }
    for (size_t table = 0; table < Tables().size(); ++table) {
      const TableSpec& spec = Tables()[table].spec;
      for (const auto& writer : writers) RETURN_IF_ERROR(writer->BeginTable(spec));
      RETURN_IF_ERROR(spec.id_kind == IdKind::kDense ? CopyDense(table, writers) : CopyOthers(table, writers));
      for (const auto& writer : writers) RETURN_IF_ERROR(writer->EndTable());
    }
    for (uint32_t shard = 0; shard < map_.shards(); ++shard) {
      RETURN_IF_ERROR(writers[shard]->Commit());
      writers[shard] = nullptr;
      ASSIGN_OR_RETURN(const auto file, ShardFile::Open(parts_[shard].base_path));
      parts_[shard].content = file->layout().content;
    }
    return WriteExpiring(staging);
  }

  /// Brings what was applied since to the new shards, as a delta.
  absl::Status Tail(const GroupStaging& staging) {
    ASSIGN_OR_RETURN(GroupVersion newest, GroupVersion::Newest(from_.group));
    bool more = newest.version != from_.version;
    for (uint32_t shard = 0; shard < from_.shards; ++shard) {
      const std::vector<ShardParts::Delta>& had = from_.parts[shard].deltas;
      const bool same = newest.shards == from_.shards && newest.parts[shard].content == from_.parts[shard].content &&
                        newest.parts[shard].deltas.size() >= had.size() &&
                        std::equal(had.begin(), had.end(), newest.parts[shard].deltas.begin(),
                                   [](const auto& a, const auto& b) { return a.digest == b.digest; });
      if (!same) {
        return absl::AbortedError(
            absl::StrCat("table group '", from_.group, "': got another base while it was read; run it again"));
      }
      more = more || newest.parts[shard].deltas.size() > had.size();
    }
    if (!more) return absl::OkStatus();
    ASSIGN_OR_RETURN(Versions versions, OpenAll(newest, store_));
    RETURN_IF_ERROR(WriteDeltas(
        staging, absl::StrCat("delta.", newest.version),
        [&](std::vector<std::unique_ptr<DeltaWriter>>& writers) { return CopyChanged(newest, versions, writers); }));
    from_ = std::move(newest);
    versions_ = std::move(versions);
    return absl::OkStatus();
  }

  /// For whoever finds this set beside the other one: that it has the same rows.
  absl::Status WriteSource(const GroupStaging& staging) const {
    return WriteFileAtomically(absl::StrCat(staging.Folder(0), "/", kSourceFile), StateOf(from_).Hex());
  }

  absl::Status WritePackages(const GroupStaging& staging) const {
    for (uint32_t shard = 0; shard < map_.shards(); ++shard)
      RETURN_IF_ERROR(WriteShardPackage(staging.Folder(shard), kShardFile, packaged_[shard], from_.specs[0].source));
    return absl::OkStatus();
  }

  const GroupVersion& from() const { return from_; }

 private:
  using DeltaWriters = std::vector<std::unique_ptr<DeltaWriter>>;

  const std::vector<ShardLayout::Table>& Tables() const { return from_.layouts[0].tables; }

  absl::Status Add(const TableSpec& spec, const TableScan::Row& row, ShardWriter& writer) {
    ShardWriter::Rows rows;
    rows.encoded = row.numbers;
    if (spec.id_kind == IdKind::kSparse) rows.ids = absl::MakeConstSpan(&row.number, 1);
    if (spec.id_kind == IdKind::kString) rows.strings = absl::MakeConstSpan(&row.string, 1);
    if (++done_ % kProgressRows == 0) options_.progress(done_, all_);
    return writer.Add(rows);
  }

  /// All ids in their order, each from the shard that has it.
  absl::Status CopyDense(size_t table, const std::vector<std::unique_ptr<ShardWriter>>& writers) {
    std::vector<TableScan> scans;
    uint64_t rows = 0;
    for (const auto& version : versions_) {
      scans.emplace_back(*version->tables()[table], now_);
      rows += version->tables()[table]->memory().all_rows();
    }
    TableScan::Row row;
    for (uint64_t id = 0; id < rows; ++id) {
      ASSIGN_OR_RETURN(const bool there, scans[old_map_.ShardOfDense(id)].Next(&row));
      if (!there) {
        return absl::DataLossError(absl::StrCat("table '", Tables()[table].spec.name, "': got no row ", id, " of ",
                                                rows, ", want one in shard ", old_map_.ShardOfDense(id)));
      }
      RETURN_IF_ERROR(Add(Tables()[table].spec, row, *writers[map_.ShardOfDense(id)]));
    }
    // At its end a scan says whether memory went away under it.
    for (TableScan& scan : scans) {
      ASSIGN_OR_RETURN(const bool more, scan.Next(&row));
      if (more) {
        return absl::DataLossError(
            absl::StrCat("table '", Tables()[table].spec.name, "': got more rows in a shard than its share of ", rows));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CopyOthers(size_t table, const std::vector<std::unique_ptr<ShardWriter>>& writers) {
    const TableSpec& spec = Tables()[table].spec;
    for (const auto& version : versions_) {
      TableScan scan(*version->tables()[table], now_);
      TableScan::Row row;
      while (true) {
        ASSIGN_OR_RETURN(const bool there, scan.Next(&row));
        if (!there) break;
        if (row.until != UpdatedRow::kForever) continue;
        RETURN_IF_ERROR(Add(spec, row, *writers[ShardOf(spec, row.number, row.string)]));
      }
    }
    return absl::OkStatus();
  }

  uint32_t ShardOf(const TableSpec& spec, int64_t number, absl::string_view string) const {
    return spec.id_kind == IdKind::kString ? map_.ShardOfString(string) : map_.ShardOfSparse(number);
  }

  /// Rows that end at some time have no place in a base.
  absl::Status WriteExpiring(const GroupStaging& staging) {
    return WriteDeltas(staging, absl::StrCat("delta.", from_.version), [this](DeltaWriters& writers) {
      for (size_t table = 0; table < Tables().size(); ++table) {
        const TableSpec& spec = Tables()[table].spec;
        RETURN_IF_ERROR(BeginTable(table, writers));
        for (const auto& version : versions_) {
          const RowOverlay* const overlay = version->overlays()[table].get();
          if (overlay == nullptr || overlay->expiring() == 0) continue;
          RETURN_IF_ERROR(overlay->ForEach([&](uint32_t row) {
            const int64_t until = UpdatedRow::Until(overlay->RowAt(row));
            return until <= now_ || until == UpdatedRow::kForever ? absl::OkStatus()
                                                                  : Copy(spec, *overlay, row, 0, writers);
          }));
        }
        for (const auto& writer : writers) RETURN_IF_ERROR(writer->EndTable());
      }
      return absl::OkStatus();
    });
  }

  /// Puts an updated row of shard number `from` where it belongs now.
  absl::Status Copy(const TableSpec& spec, const RowOverlay& overlay, uint32_t row, uint32_t from,
                    const DeltaWriters& writers) const {
    const char* const at = overlay.RowAt(row);
    DeltaWriter::Id id;
    id.number = static_cast<int64_t>(UpdatedRow::Id(at));
    id.until = UpdatedRow::Until(at);
    if (spec.id_kind == IdKind::kString) id.string = overlay.StringOf(row);
    uint32_t shard = 0;
    if (spec.id_kind == IdKind::kDense) {
      const uint64_t global = old_map_.DenseId(from, static_cast<uint64_t>(id.number));
      shard = map_.ShardOfDense(global);
      id.number = static_cast<int64_t>(map_.LocalRow(global));
    } else {
      shard = ShardOf(spec, id.number, id.string);
    }
    if (id.until == UpdatedRow::kDeleted) return writers[shard]->Delete(id);
    return writers[shard]->UpsertEncoded(
        id, {at + UpdatedRow::HeadBytes(spec.id_kind), EncodedBytes(spec.row_type, spec.dim)});
  }

  absl::Status BeginTable(size_t table, const DeltaWriters& writers) const {
    uint64_t rows = 0;
    for (const auto& version : versions_) rows += version->tables()[table]->memory().all_rows();
    for (uint32_t shard = 0; shard < map_.shards(); ++shard)
      RETURN_IF_ERROR(writers[shard]->BeginTable(Tables()[table].spec, map_.RowsOf(shard, rows)));
    return absl::OkStatus();
  }

  /// Rows of overlays by table and shard, in the order that they came.
  using Changed = std::vector<std::vector<std::vector<uint32_t>>>;

  /// Each row that came since, once. One delta at a time is in memory.
  absl::StatusOr<Changed> ChangedRows(const GroupVersion& newest, const Versions& versions) const {
    Changed changed(Tables().size(), std::vector<std::vector<uint32_t>>(from_.shards));
    for (uint32_t shard = 0; shard < from_.shards; ++shard) {
      std::vector<absl::flat_hash_set<uint32_t>> there(Tables().size());
      for (size_t i = from_.parts[shard].deltas.size(); i < newest.parts[shard].deltas.size(); ++i) {
        const ShardParts::Delta& file = newest.parts[shard].deltas[i];
        ASSIGN_OR_RETURN(const DeltaFile delta, DeltaFile::Read(file.path, &file.digest));
        for (const DeltaFile::Table& rows : delta.tables) {
          size_t table = 0;
          while (Tables()[table].spec.name != rows.spec.name) ++table;
          const RowOverlay& overlay = *versions[shard]->overlays()[table];
          for (const uint32_t row : RowsIn(rows, overlay)) {
            if (there[table].insert(row).second) changed[table][shard].push_back(row);
          }
        }
      }
    }
    return changed;
  }

  static std::vector<uint32_t> RowsIn(const DeltaFile::Table& changed, const RowOverlay& overlay) {
    std::vector<uint32_t> rows;
    for (const auto& chunk : changed.chunks) {
      for (uint32_t i = 0; i < chunk->count; ++i) {
        const char* const at = chunk->Row(i);
        rows.push_back(changed.spec.id_kind == IdKind::kString ? overlay.FindString(chunk->StringOf(at))
                                                               : overlay.FindNumber(UpdatedRow::Id(at)));
      }
    }
    return rows;
  }

  /// As the newest version has them.
  absl::Status CopyChanged(const GroupVersion& newest, const Versions& versions, const DeltaWriters& writers) const {
    ASSIGN_OR_RETURN(const Changed changed, ChangedRows(newest, versions));
    for (size_t table = 0; table < Tables().size(); ++table) {
      RETURN_IF_ERROR(BeginTable(table, writers));
      for (uint32_t shard = 0; shard < from_.shards; ++shard) {
        const RowOverlay* const overlay = versions[shard]->overlays()[table].get();
        for (const uint32_t row : changed[table][shard])
          RETURN_IF_ERROR(Copy(Tables()[table].spec, *overlay, row, shard, writers));
      }
      for (const auto& writer : writers) RETURN_IF_ERROR(writer->EndTable());
    }
    return absl::OkStatus();
  }

  /// One delta for each new shard that `write` has rows for.
  template <typename Write>
  absl::Status WriteDeltas(const GroupStaging& staging, const std::string& name, const Write& write) {
    DeltaWriters writers;
    for (uint32_t shard = 0; shard < map_.shards(); ++shard) {
      DeltaTarget target;
      target.shard = shard;
      target.shards = map_.shards();
      target.base = parts_[shard].content;
      target.state = parts_[shard].State();
      target.version = from_.version;
      ASSIGN_OR_RETURN(writers.emplace_back(),
                       DeltaWriter::Create(absl::StrCat(staging.Folder(shard), "/", name), target));
    }
    RETURN_IF_ERROR(write(writers));
    for (uint32_t shard = 0; shard < map_.shards(); ++shard) {
      if (writers[shard]->rows() == 0) continue;
      RETURN_IF_ERROR(writers[shard]->Commit());
      const std::string path = absl::StrCat(staging.Folder(shard), "/", name);
      ASSIGN_OR_RETURN(const DeltaFile delta, DeltaFile::Read(path));
      parts_[shard].deltas.push_back({path, delta.digest});
      packaged_[shard].push_back({name, delta.digest});
    }
    return absl::OkStatus();
  }

  const GroupRewriteOptions& options_;
  const int64_t now_;
  /// What the new shards have so far.
  GroupVersion from_;
  const ShardMap old_map_;
  const ShardMap map_;
  ShardStore store_;
  Versions versions_;
  /// Of the new shards.
  std::vector<ShardParts> parts_;
  std::vector<std::vector<TableLookupSpec::Delta>> packaged_;
  uint64_t done_ = 0;
  uint64_t all_ = 0;
};

}  // namespace

absl::StatusOr<int64_t> RewriteGroup(const std::string& group, const GroupRewriteOptions& options) {
  ASSIGN_OR_RETURN(const GroupLock alone, GroupLock::TakeRewrite(group));
  std::optional<GroupVersion> from;
  {
    ASSIGN_OR_RETURN(const GroupLock lock, GroupLock::Wait(group));
    RETURN_IF_ERROR(GroupStaging::CleanUp(group));
    ASSIGN_OR_RETURN(from, GroupVersion::Newest(group));
    const uint32_t now = from->shards;
    if (options.shards == now || (options.shards == 0 && !from->HasDeltas())) return from->version;
    if (options.shards != 0) {
      ASSIGN_OR_RETURN(const bool divided, IsDivided(*from, options.shards));
      if (divided) {
        // All of it is there: only the last step is missing.
        RETURN_IF_ERROR(SetServingShards(group, options.shards));
        return from->version;
      }
      // From here on there are two sets.
      RETURN_IF_ERROR(SetServingShards(group, now));
    }
  }
  const uint32_t shards = options.shards == 0 ? from->shards : options.shards;
  const bool anew = shards != from->shards;
  ASSIGN_OR_RETURN(const auto staging, GroupStaging::Create(group, shards));
  GroupRewriter rewriter(*std::move(from), shards, options);
  RETURN_IF_ERROR(options.keep_bases && !anew ? rewriter.LinkBases(*staging) : rewriter.WriteBases(*staging));
  options.before_tail();
  RETURN_IF_ERROR(rewriter.Tail(*staging));
  // From here on no update runs; what is left to follow is what came during the last step.
  ASSIGN_OR_RETURN(const GroupLock lock, GroupLock::Wait(group));
  RETURN_IF_ERROR(rewriter.Tail(*staging));
  const int64_t version = rewriter.from().version + (anew ? 0 : 1);
  RETURN_IF_ERROR(rewriter.WritePackages(*staging));
  if (anew) RETURN_IF_ERROR(rewriter.WriteSource(*staging));
  RETURN_IF_ERROR(staging->Commit(version));
  if (anew) RETURN_IF_ERROR(SetServingShards(group, shards));
  return version;
}

}  // namespace portico
