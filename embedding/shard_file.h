#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "embedding/block_verifier.h"
#include "embedding/shard_layout.h"
#include "embedding/table.h"
#include "embedding/touch_counts.h"

namespace portico {

/// A shard file, open for lookups. Opening reads the superblocks and the directory, so that the first answer comes at
/// once whatever the size; rows come by mapping the file, and each block is verified when it is first wanted.
/// Thread-safe.
class ShardFile final : public TableSet {
 public:
  struct Options {
    /// Reads the whole file into memory of its own, on huge pages where the kernel has them, instead of mapping it:
    /// lookups are half as fast again, opening takes as long as reading, and all of it stays in memory.
    bool in_memory = false;
    /// For who reads it from front to end: the kernel reads ahead.
    bool sequential = false;
    const RowKernels* kernels = &RowKernels::Best();
  };

  /// NOT_FOUND, INVALID_ARGUMENT (no shard file), DATA_LOSS (damaged, of another length): names the file.
  static absl::StatusOr<std::unique_ptr<ShardFile>> Open(const std::string& path, const Options& options);
  static absl::StatusOr<std::unique_ptr<ShardFile>> Open(const std::string& path) { return Open(path, Options()); }
  ~ShardFile() override;
  ShardFile(const ShardFile&) = delete;
  ShardFile& operator=(const ShardFile&) = delete;

  const std::string& path() const override { return path_; }
  const ShardLayout& layout() const { return layout_; }
  /// The whole of it, as it lies in memory.
  const char* begin() const { return begin_; }
  const BlockVerifier& blocks() const { return *verifier_; }
  /// To verify blocks by.
  BlockVerifier& gate() const { return *verifier_; }
  /// Where it is read, as samples of lookups say; null for a copy in memory.
  TouchCounts* touches() const { return touches_.get(); }
  const std::vector<std::unique_ptr<EmbeddingTable>>& tables() const { return tables_; }
  const EmbeddingTable* Find(absl::string_view name) const override;

  /// Verifies whatever was not verified yet, block by block; the first error, when all were looked at. `go_on` is asked
  /// in front of each block with the number of those done; CANCELLED where it says no.
  absl::Status Verify(const std::function<bool(uint64_t done)>& go_on) const;

  /// DATA_LOSS where one of the two superblocks is not as it was written; the other one, which opening found, serves.
  absl::Status CheckSuperblocks() const;

  /// Puts the file's own pages where others were put since it was opened, in one step for who reads. False: the kernel
  /// did not. REQUIRES: it is mapped; `offset` and `bytes` are whole pages.
  bool MapAgain(uint64_t offset, uint64_t bytes) const;

 private:
  ShardFile(std::string path, ShardLayout layout, int fd, char* begin, const Options& options);

  const std::string path_;
  const ShardLayout layout_;
  /// -1 for a copy in memory.
  const int fd_;
  char* const begin_;
  std::unique_ptr<BlockVerifier> verifier_;
  const std::unique_ptr<TouchCounts> touches_;
  std::vector<std::unique_ptr<EmbeddingTable>> tables_;
  absl::flat_hash_map<absl::string_view, const EmbeddingTable*> by_name_;
};

/// Only what it is made of, which opening checks.
absl::StatusOr<ShardLayout> ReadShardLayout(int fd, const std::string& path);

}  // namespace portico
