#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "models/graph/embedding_spec.h"
#include "remote_op/lookup_plan.h"
#include "remote_op/shard_answer.h"
#include "remote_op/shard_stand_in.h"

namespace portico {

/// The outputs of a plan's lookups: partial sums added in the order of the shards, rows decoded and pooled in the order
/// of the ids, so that the same answers give the same bits. `answers`: by share, null where there is none, and
/// `stand_ins` has what stands for it. INTERNAL where shards disagree about a table's row type.
absl::StatusOr<std::vector<Tensor>> MergeLookups(const EmbeddingSpec& spec, const LookupPlan& plan,
                                                 absl::Span<const ShardAnswer* const> answers,
                                                 absl::Span<const ShardStandIn* const> stand_ins);

/// Which rows (of dim 0) of the outputs what stands for the share's answer has part in, ascending, each once: by kept
/// rows (`which`: ShardStandIn::Entry::known) or by numbers (defaulted). How many bags those are, in all lookups, is
/// added to `bags`.
std::vector<int64_t> TouchedRows(const LookupPlan& plan, const LookupPlan::Share& share, const ShardStandIn& stand_in,
                                 std::vector<bool> ShardStandIn::Entry::*which, uint64_t* bags);

}  // namespace portico
