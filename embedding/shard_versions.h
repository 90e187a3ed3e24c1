#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/mutex.h"
#include "embedding/row_overlay.h"
#include "embedding/shard_file.h"

namespace portico {

class HotPages;

/// What a version of a shard is made of: a base, and deltas on top in their order.
struct ShardParts {
  struct Delta {
    std::string path;
    /// SHA-256 of the file.
    Digest digest;
  };
  std::string base_path;
  /// ShardLayout::content of the base.
  Digest content;
  std::vector<Delta> deltas;

  /// Of base and all deltas.
  Digest State() const;
};

/// One version of a shard as requests read it: its tables with all deltas up to this one. Whoever holds it sees this
/// version and no other. Base and rows are shared with other versions; what only this one has goes with it. Constant;
/// thread-safe.
class ShardVersion final : public TableSet {
 public:
  /// `overlays`: one for each table of the base, null where no delta has rows of it.
  ShardVersion(std::shared_ptr<const ShardFile> base, std::vector<std::shared_ptr<const RowOverlay>> overlays,
               const Clock& clock, const RowKernels& kernels);

  const ShardFile& base() const { return *base_; }
  const std::string& path() const override { return base_->path(); }
  const std::shared_ptr<const ShardFile>& shared_base() const { return base_; }
  const std::vector<std::unique_ptr<EmbeddingTable>>& tables() const { return tables_; }
  const EmbeddingTable* Find(absl::string_view name) const override;
  /// In the order of the tables; null where there is none.
  const std::vector<std::shared_ptr<const RowOverlay>>& overlays() const { return overlays_; }

 private:
  const std::shared_ptr<const ShardFile> base_;
  const std::vector<std::shared_ptr<const RowOverlay>> overlays_;
  std::vector<std::unique_ptr<EmbeddingTable>> tables_;
  absl::flat_hash_map<absl::string_view, const EmbeddingTable*> by_name_;
};

/// Opens versions of shards for this process, so that those of one shard share its base and the rows of deltas that
/// they have in common; remembers what is open, keeps nothing alive. Thread-safe; opening blocks on the disk, for those
/// who open versions of the same shard in turn.
class ShardStore {
 public:
  struct Options {
    ShardFile::Options file;
    /// By which rows expire; must outlive all versions.
    const Clock* clock = &Clock::Real();
    /// Told of each base; not owned, must outlive the store. Null: bases stay as they are mapped.
    HotPages* hot_pages = nullptr;
  };

  explicit ShardStore(const Options& options) : options_(options) {}
  ShardStore() : ShardStore(Options()) {}

  /// Every delta is read whole and checked before the version is there. FAILED_PRECONDITION for a base that is
  /// not that of `parts`, and for a delta of another shard, base, version or table; DATA_LOSS for damaged files and for
  /// deltas of another digest; messages name the file.
  absl::StatusOr<std::shared_ptr<const ShardVersion>> Open(const ShardParts& parts);

  /// Of the bases that are open, each once.
  uint64_t mapped_bytes() const { return mapped_bytes_->load(std::memory_order_relaxed); }
  /// How many bytes of a section of a base lie on huge pages.
  uint64_t HugeBytesIn(const ShardFile& base, const ShardLayout::Section& section) const;

 private:
  struct OpenVersion {
    std::vector<Digest> deltas;
    std::weak_ptr<const ShardVersion> version;
  };
  /// All that is open of one base.
  struct Shard {
    /// Held while a version of it is opened.
    Mutex opening;
    std::weak_ptr<const ShardFile> base ABSL_GUARDED_BY(opening);
    /// Device and number of its file.
    std::pair<uint64_t, uint64_t> base_file ABSL_GUARDED_BY(opening);
    std::vector<OpenVersion> versions ABSL_GUARDED_BY(opening);
  };

  absl::StatusOr<std::shared_ptr<const ShardFile>> OpenBase(const ShardParts& parts) const;
  absl::StatusOr<std::shared_ptr<const ShardVersion>> OpenOf(Shard& shard, const ShardParts& parts)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.opening);

  const Options options_;
  const std::shared_ptr<std::atomic<uint64_t>> mapped_bytes_ = std::make_shared<std::atomic<uint64_t>>(0);
  Mutex mutex_;
  absl::flat_hash_map<Digest, std::shared_ptr<Shard>> shards_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
