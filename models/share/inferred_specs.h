#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "models/package/model.h"
#include "models/package/signature.h"
#include "models/split/graph_index.h"

namespace portico {

/// What ONNX Runtime infers of `tensors` (of the graph, constants are passed over), and of all inputs and outputs of
/// the graph; portals give what they declare. Large weights are not read. An error where ONNX Runtime does not take the
/// model.
absl::StatusOr<std::vector<TensorSpec>> InferSpecs(const Model& model, const GraphIndex& index,
                                                   const absl::flat_hash_set<std::string>& tensors);

struct DenseSpecs {
  std::vector<TensorSpec> specs;
  /// Tensors that are not looked into any more, as there are very many that are not dense among them.
  size_t unknown = 0;
};

/// The same of those of `tensors` that are dense: sequences and the like are left out.
absl::StatusOr<DenseSpecs> InferDenseSpecs(const Model& model, const GraphIndex& index,
                                           const absl::flat_hash_set<std::string>& tensors);

}  // namespace portico
