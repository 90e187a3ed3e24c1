#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "embedding/row_cache.h"
#include "embedding/shard_map.h"
#include "models/graph/embedding_spec.h"
#include "remote_op/lookup_plan.h"

namespace portico {

/// The ids that a share of a plan sends, as keys of kept rows. Borrows all it is made of.
class ShareKeys {
 public:
  /// `shards`: of the group; `tables`: by lookup, LiveTables::NumberOf().
  ShareKeys(const EmbeddingSpec& spec, const LookupPlan::Share& share, uint32_t shards,
            absl::Span<const uint32_t> tables);

  /// Of id number `index` of the share's entry, as they are sent.
  RowCache::Key At(size_t entry, uint64_t index) const;

 private:
  const EmbeddingSpec& spec_;
  const LookupPlan::Share& share_;
  const ShardMap map_;
  const absl::Span<const uint32_t> tables_;
  const absl::Span<const int64_t> ids_;
  /// By entry: where its ids begin, among those of its kind.
  std::vector<uint64_t> begins_;
};

}  // namespace portico
