#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "models/graph/embedding_spec.h"
#include "remote_op/lookup_plan.h"

namespace portico {

/// What a shard says of an id that it does not have (OUT_OF_RANGE, IdBags::Validate() and EmbeddingTable), in terms of
/// the request: the id as it was sent where a dense one is a row of its shard, and its position, or its bag where sums
/// were asked for. All other errors are as they are, as is one in other words than this version's shards have.
absl::Status AsAsked(const absl::Status& error, const EmbeddingSpec& spec, const LookupPlan& plan,
                     const LookupPlan::Share& share, uint32_t shards);

}  // namespace portico
