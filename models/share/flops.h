#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "models/package/model.h"
#include "models/split/graph_index.h"

namespace portico {

/// Floating-point operations, a multiplication and an addition counted as two.
struct FlopEstimate {
  /// Of MatMul, Gemm, Conv and ConvTranspose for one row; what else there is, is small beside them.
  double per_row = 0;
  /// Nodes that compute much and are not in per_row: their shapes are not known before they run, or they are of another
  /// op (LSTM, Einsum, Attention, ...).
  int unknown_nodes = 0;
};

/// One estimate for each of `groups` (nodes of `index`), from the shapes that ONNX Runtime infers; a symbolic dim 0 is
/// one row. Weights are not read. An error where ONNX Runtime does not take the model.
absl::StatusOr<std::vector<FlopEstimate>> EstimateFlops(const Model& model, const GraphIndex& index,
                                                        absl::Span<const std::vector<int>> groups);

}  // namespace portico
