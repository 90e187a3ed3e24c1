#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "models/graph/embedding_spec.h"
#include "remote_op/lookup_plan.h"
#include "remote_op/shard_answer.h"

namespace portico {

/// What stands for the rows of a shard without an answer: this number in all of their elements, by lookup.
using MissingRows = absl::Span<const float>;

/// The outputs of a plan's lookups: partial sums added in the order of the shards, rows decoded and pooled in the order
/// of the ids, so that the same answers give the same bits. `answers`: by share, null where there is none. INTERNAL
/// where shards disagree about a table's row type. REQUIRES: `missing` has a number for each lookup unless all answers
/// are there.
absl::StatusOr<std::vector<Tensor>> MergeLookups(const EmbeddingSpec& spec, const LookupPlan& plan,
                                                 absl::Span<const ShardAnswer* const> answers, MissingRows missing);

/// Which rows (of dim 0) of the outputs the share has part in, ascending, each once; how many bags those are, in all
/// lookups, is added to `bags`.
std::vector<int64_t> TouchedRows(const LookupPlan& plan, const LookupPlan::Share& share, uint64_t* bags);

}  // namespace portico
