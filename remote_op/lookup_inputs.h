#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "models/graph/embedding_spec.h"
#include "remote_op/lookup_plan.h"

namespace portico {

/// The tensors of one lookup, as a plan reads them.
struct LookupInputs {
  /// int64, whatever integers came, or strings.
  Tensor ids;
  /// float32, one for each id; none where the lookup has none.
  Tensor weights;
};

/// Finds a lookup's tensors among those of its node, and checks that they fit each other: INVALID_ARGUMENT names the
/// position. Fills in what they say of `part`: bags, width, positions, shape of the output; where bags of csr begin
/// goes behind `begins`.
absl::StatusOr<LookupInputs> ReadLookupInputs(const EmbeddingSpec& spec, const EmbeddingSpec::Lookup& lookup,
                                              absl::Span<const Tensor> inputs, LookupPlan::Part* part,
                                              std::vector<uint64_t>* begins);

}  // namespace portico
