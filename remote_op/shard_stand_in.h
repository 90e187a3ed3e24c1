#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "embedding/row_cache.h"
#include "models/graph/embedding_spec.h"
#include "remote_op/lookup_plan.h"
#include "remote_op/table_fallback.h"

namespace portico {

/// What stands for the answer of a shard that gave none: of each entry of its share the rows, or the sums of them, as
/// numbers. A row that is kept here, of whatever version, is that row; another one is its table's number throughout.
struct ShardStandIn {
  struct Entry {
    /// Entries of rows: dim numbers for each row; of sums: for each bag.
    std::vector<float> values;
    /// By row, or by bag: whether a kept row is in it, and whether a number is.
    std::vector<bool> known;
    std::vector<bool> defaulted;
  };
  /// By the share's entry.
  std::vector<Entry> entries;
  bool any_known = false;
  bool any_defaulted = false;
  /// Of the oldest row that is kept.
  absl::Duration age;

  /// What is known of kept rows.
  struct Kept {
    /// Null: none are kept.
    const RowCache* cache = nullptr;
    /// By lookup, as in ShareKeys and LookupPlan.
    absl::Span<const uint32_t> tables;
    LookupPlan::RowTypes row_types;
    /// Of the group, as the request's revision has it.
    uint32_t shards = 1;
    /// The version that the shard would have answered from: its rows are never too old. 0: not known.
    uint64_t origin = 0;
    /// The clock that rows are kept by.
    absl::Time now;
  };
  /// Of its values, known before it is made: who makes several bounds them in all.
  static uint64_t BytesFor(const EmbeddingSpec& spec, const LookupPlan& plan, const LookupPlan::Share& share);
  /// NOT_FOUND, naming the table, where a row is not kept and its table has no number.
  static absl::StatusOr<ShardStandIn> Make(const EmbeddingSpec& spec, const LookupPlan& plan,
                                           const LookupPlan::Share& share, const TableFallback& fallback,
                                           const Kept& kept);
};

}  // namespace portico
