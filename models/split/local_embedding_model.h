#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "models/graph/graph.h"
#include "models/package/model.h"
#include "models/split/local_tables.h"

namespace portico {

/// A model whose portals are all EmbeddingBag, run in this process over tables in this process, without threads and
/// optimisation: what the mesh is compared with.
class LocalEmbeddingModel {
 public:
  /// `tables` is not owned and must outlive it.
  static absl::StatusOr<std::unique_ptr<LocalEmbeddingModel>> Create(const Model& model, const LocalTables& tables);

  /// `inputs` in the graph's order. Blocks.
  absl::StatusOr<std::vector<Tensor>> Run(const std::vector<Tensor>& inputs) const;

 private:
  explicit LocalEmbeddingModel(std::unique_ptr<Graph> graph) : graph_(std::move(graph)) {}

  const std::unique_ptr<Graph> graph_;
};

}  // namespace portico
