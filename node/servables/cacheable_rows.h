#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "models/graph/graph_plan.h"
#include "models/package/package.h"
#include "models/package/signature.h"
#include "node/servables/segment_op.h"

namespace portico {

/// Which inputs of `signature` count rows, where answers may be kept by row (result_cache/): all that it does is one
/// segment, each row of whose outputs depends on the same row of its inputs and on what all rows share, every time
/// alike. FAILED_PRECONDITION that says what stands in the way: a portal or a lookup, whose answers may change while
/// this version stays; a random op; rows that are ragged, padded to others' lengths, or not counted at all. `plan`:
/// the signature's, with the op of each of its steps that is a segment, else null.
absl::StatusOr<std::vector<bool>> CacheableRows(const Package& package, const Signature& signature,
                                                const GraphPlan& plan, absl::Span<SegmentOp* const> ops);

}  // namespace portico
