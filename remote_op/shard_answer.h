#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "embedding/row_type.h"
#include "models/graph/embedding_spec.h"
#include "remote_op/lookup_plan.h"

namespace portico {

/// What a shard answered to its share of a plan, checked: every number of it can be used as it is.
struct ShardAnswer {
  struct Entry {
    const char* rows = nullptr;
    RowType row_type = RowType::kFloat32;
    uint64_t unknown = 0;
    /// The rows may be kept: no row of the table expires.
    bool lasts = false;
  };
  /// By the share's entry.
  std::vector<Entry> entries;
  /// What `rows` point into.
  Tensor rows;

  /// `tensors`: by LookupCall::Output. INTERNAL, naming table, what came and what was wanted, where they are not what
  /// was asked for.
  static absl::StatusOr<ShardAnswer> Take(const EmbeddingSpec& spec, const LookupPlan& plan,
                                          const LookupPlan::Share& share, std::vector<Tensor> tensors);
};

}  // namespace portico
