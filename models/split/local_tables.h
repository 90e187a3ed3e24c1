#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "embedding/shard_file.h"
#include "embedding/shard_map.h"
#include "embedding/table.h"
#include "models/graph/embedding_spec.h"
#include "models/split/embedding_lookups.h"

namespace portico {

/// The tables of a group in this process, which stand in for its servers: what a portal would get, it gets from here.
/// For comparisons, not for speed. Thread-safe.
class LocalTables {
 public:
  /// The weights themselves, as one shard; borrowed, not copied.
  static std::unique_ptr<LocalTables> OfWeights(const std::vector<TableWeight>& weights);
  /// The shard files `folders`[k]/table.shard.
  static absl::StatusOr<std::unique_ptr<LocalTables>> OfFiles(const std::vector<std::string>& folders);

  /// Rows of dense ids, `out` having room for as many.
  absl::Status Rows(absl::string_view table, absl::Span<const int64_t> ids, absl::Span<float> out) const;

  /// What a portal's node gives for its inputs.
  absl::StatusOr<std::vector<Tensor>> Lookup(const EmbeddingSpec& spec, const std::vector<Tensor>& inputs) const;

  uint32_t shards() const { return static_cast<uint32_t>(shards_.size()); }
  /// Null where the shard has no such table.
  const EmbeddingTable* Find(uint32_t shard, absl::string_view table) const;
  const std::vector<std::unique_ptr<ShardFile>>& files() const { return files_; }

 private:
  LocalTables() = default;

  absl::StatusOr<Tensor> LookupOne(const EmbeddingSpec::Lookup& lookup, bool with_end,
                                   const std::vector<Tensor>& inputs) const;

  std::vector<std::unique_ptr<ShardFile>> files_;
  std::vector<std::unique_ptr<EmbeddingTable>> weights_;
  std::vector<std::vector<const EmbeddingTable*>> shards_;
};

}  // namespace portico
