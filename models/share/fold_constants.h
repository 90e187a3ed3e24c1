#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "models/package/model.h"
#include "models/package/weight_store.h"

namespace portico {

struct FoldOptions {
  /// Largest constant that is computed, and largest that is read to compute one.
  uint64_t max_tensor_bytes = 16 << 20;
  /// Of all that is computed.
  uint64_t max_total_bytes = 256 << 20;
  /// Of all that is read and computed on the way there, what is read twice counted twice.
  uint64_t max_work_bytes = uint64_t{4} << 30;
};

struct FoldedModel {
  /// Nothing: there was nothing to fold.
  std::optional<Model> model;
  int nodes = 0;
  /// Why constants were left as they are; empty when they were not.
  std::string note;
};

/// `model` with nodes that compute constants replaced by initializers of their values: exporters differ in what they
/// compute themselves and what they leave to be computed, and this is what makes both count alike. ONNX Runtime
/// computes them. Only ops that take time linear in what they read and write are, and only where ONNX Runtime knows the
/// size of the result before it computes it; random ones, control flow, quantisation and what would swell the model
/// stay. Weights are shared with `model`; new ones go to `store`. INVALID_ARGUMENT as GraphIndex::Create().
absl::StatusOr<FoldedModel> FoldConstants(const Model& model, WeightStore& store, const FoldOptions& options = {});

}  // namespace portico
