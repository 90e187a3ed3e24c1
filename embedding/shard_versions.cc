#include "embedding/shard_versions.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "embedding/delta_file.h"
#include "embedding/hot_pages.h"

namespace portico {
namespace {

/// The same for all hard links of a file, another for one that was restored in its place.
std::pair<uint64_t, uint64_t> FileId(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? std::pair<uint64_t, uint64_t>(info.st_dev, info.st_ino)
                                        : std::pair<uint64_t, uint64_t>();
}

std::vector<Digest> DigestsOf(const ShardParts& parts) {
  std::vector<Digest> digests;
  for (const ShardParts::Delta& delta : parts.deltas) digests.push_back(delta.digest);
  return digests;
}

/// Puts what a delta brings on top of the overlays.
class DeltaApplier {
 public:
  DeltaApplier(const ShardLayout& layout, const std::vector<std::shared_ptr<const RowOverlay>>& from)
      : layout_(layout), overlays_(from), builders_(layout.tables.size()) {}

  absl::Status Apply(const DeltaFile& delta, const std::string& path) {
    for (const DeltaFile::Table& table : delta.tables) {
      size_t i = 0;
      while (layout_.tables[i].spec.name != table.spec.name) ++i;
      const ShardLayout::Table& base = layout_.tables[i];
      if (builders_[i] == nullptr) {
        builders_[i] = std::make_unique<OverlayBuilder>(base.spec, base.row_count, overlays_[i].get());
      }
      const absl::Status applied = ApplyTable(table, *builders_[i]);
      if (!applied.ok()) return WithContext(absl::StrCat("delta '", path, "'"), applied);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::shared_ptr<const RowOverlay>>> Finish() {
    for (size_t i = 0; i < builders_.size(); ++i) {
      if (builders_[i] == nullptr) continue;
      ASSIGN_OR_RETURN(overlays_[i], builders_[i]->Finish());
    }
    return std::move(overlays_);
  }

 private:
  static absl::Status ApplyTable(const DeltaFile::Table& table, OverlayBuilder& builder) {
    if (table.spec.id_kind == IdKind::kDense && builder.row_count() != table.rows_before) {
      return absl::FailedPreconditionError(absl::StrCat("table '", table.spec.name, "': got one for ",
                                                        table.rows_before, " rows, want one for ",
                                                        builder.row_count()));
    }
    RETURN_IF_ERROR(builder.Reserve(table.rows));
    for (const auto& chunk : table.chunks) RETURN_IF_ERROR(builder.Add(chunk));
    builder.EndDelta(table.spec.id_kind == IdKind::kDense ? table.rows_after : builder.row_count());
    return absl::OkStatus();
  }

  const ShardLayout& layout_;
  std::vector<std::shared_ptr<const RowOverlay>> overlays_;
  std::vector<std::unique_ptr<OverlayBuilder>> builders_;
};

}  // namespace

Digest ShardParts::State() const { return StateDigest(content, DigestsOf(*this)); }

ShardVersion::ShardVersion(std::shared_ptr<const ShardFile> base,
                           std::vector<std::shared_ptr<const RowOverlay>> overlays, const Clock& clock,
                           const RowKernels& kernels)
    : base_(std::move(base)), overlays_(std::move(overlays)) {
  for (size_t i = 0; i < base_->tables().size(); ++i) {
    const EmbeddingTable& table = *base_->tables()[i];
    TableMemory memory = table.memory();
    memory.overlay = overlays_[i].get();
    memory.clock = &clock;
    tables_.push_back(std::make_unique<EmbeddingTable>(table.spec(), memory, table.gate(), kernels));
    by_name_.emplace(tables_.back()->spec().name, tables_.back().get());
  }
}

const EmbeddingTable* ShardVersion::Find(absl::string_view name) const {
  const auto table = by_name_.find(name);
  return table == by_name_.end() ? nullptr : table->second;
}

absl::StatusOr<std::shared_ptr<const ShardVersion>> ShardStore::Open(const ShardParts& parts) {
  std::shared_ptr<Shard> shard;
  {
    const MutexLock lock(&mutex_);
    // Those of which nothing is open, and that nobody opens.
    absl::erase_if(shards_, [](const auto& entry) {
      if (entry.second.use_count() != 1) return false;
      const MutexLock alone(&entry.second->opening);
      return entry.second->base.expired();
    });
    std::shared_ptr<Shard>& found = shards_[parts.content];
    if (found == nullptr) found = std::make_shared<Shard>();
    shard = found;
  }
  const MutexLock lock(&shard->opening);
  return OpenOf(*shard, parts);
}

uint64_t ShardStore::HugeBytesIn(const ShardFile& base, const ShardLayout::Section& section) const {
  return options_.hot_pages == nullptr ? 0 : options_.hot_pages->BytesIn(base, section);
}

absl::StatusOr<std::shared_ptr<const ShardFile>> ShardStore::OpenBase(const ShardParts& parts) const {
  ASSIGN_OR_RETURN(auto opened, ShardFile::Open(parts.base_path, options_.file));
  const ShardLayout& layout = opened->layout();
  if (layout.content != parts.content) {
    return absl::FailedPreconditionError(
        absl::StrCat("shard file '", parts.base_path, "': got content ", layout.content.Short(), ", want ",
                     parts.content.Short(), " as the package says; restore the file, or make the package again"));
  }
  mapped_bytes_->fetch_add(layout.file_bytes, std::memory_order_relaxed);
  const std::shared_ptr<const ShardFile> base(opened.release(), [mapped = mapped_bytes_](const ShardFile* file) {
    mapped->fetch_sub(file->layout().file_bytes, std::memory_order_relaxed);
    delete file;
  });
  if (options_.hot_pages != nullptr) options_.hot_pages->Watch(base);
  return base;
}

absl::StatusOr<std::shared_ptr<const ShardVersion>> ShardStore::OpenOf(Shard& shard, const ShardParts& parts) {
  std::shared_ptr<const ShardFile> base = shard.base.lock();
  const std::pair<uint64_t, uint64_t> file = FileId(parts.base_path);
  if (base == nullptr || shard.base_file != file) {
    ASSIGN_OR_RETURN(base, OpenBase(parts));
  }
  const std::vector<Digest> deltas = DigestsOf(parts);
  std::erase_if(shard.versions, [](const OpenVersion& open) { return open.version.expired(); });
  // The open version that has most of them.
  size_t have = 0;
  std::vector<std::shared_ptr<const RowOverlay>> from(base->tables().size());
  for (const OpenVersion& open : shard.versions) {
    const std::shared_ptr<const ShardVersion> version = open.version.lock();
    const size_t count = open.deltas.size();
    if (version == nullptr || count > deltas.size() ||
        !std::equal(open.deltas.begin(), open.deltas.end(), deltas.begin()))
      continue;
    if (count == deltas.size() && version->shared_base() == base) return version;
    if (count > have) from = version->overlays();
    have = std::max(have, count);
  }
  DeltaApplier applier(base->layout(), from);
  for (size_t i = have; i < deltas.size(); ++i) {
    const ShardParts::Delta& delta = parts.deltas[i];
    ASSIGN_OR_RETURN(const DeltaFile read, DeltaFile::Read(delta.path, &delta.digest));
    const Digest state = StateDigest(parts.content, absl::MakeConstSpan(deltas).first(i));
    RETURN_IF_ERROR(read.CheckFits(delta.path, base->layout(), state));
    RETURN_IF_ERROR(applier.Apply(read, delta.path));
  }
  ASSIGN_OR_RETURN(auto overlays, applier.Finish());
  auto version =
      std::make_shared<const ShardVersion>(base, std::move(overlays), *options_.clock, *options_.file.kernels);
  shard.base = std::move(base);
  shard.base_file = file;
  shard.versions.push_back({deltas, version});
  return version;
}

}  // namespace portico
