#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"
#include "embedding/id_bags.h"
#include "models/package/model.h"
#include "models/package/signature.h"
#include "models/split/graph_index.h"

namespace portico {

/// A weight that becomes a table: [rows, dim] of float32, float16 or bfloat16.
struct TableWeight {
  std::string weight;
  Tensor values;

  uint64_t rows() const { return static_cast<uint64_t>(values.shape()[0]); }
  size_t dim() const { return static_cast<size_t>(values.shape()[1]); }
};

/// Where a graph looks rows of such a weight up, and what a portal needs to do it instead.
struct GraphLookup {
  /// Of LookupGraph::tables.
  size_t table = 0;
  Pooling pooling = Pooling::kNone;
  std::string ids;
  /// Of csr: where each bag begins, and behind the last one the number of ids.
  std::string offsets;
  /// The same without the last, where the graph has such a tensor.
  std::string offsets_without_end;
  /// Empty: not weighted.
  std::string weights;
  /// `weights` has a last axis of one too many.
  bool squeeze_weights = false;
  std::optional<int64_t> padding;
  /// What it computes, and the node that did.
  std::string output;
  int node = -1;
  /// As the graph has `output`, and as the portal gives it: float32, without `kept_axis`.
  TensorSpec output_type;
  TensorSpec rows_type;
  /// Of `output`: an axis of 1 where the bag was; -1: none.
  int64_t kept_axis = -1;
  /// How many lookups one after the other stand in front of it.
  int level = 0;
};

/// What of a graph can go to tables.
struct LookupGraph {
  std::vector<TableWeight> tables;
  /// In the graph's order.
  std::vector<GraphLookup> lookups;
  /// Large weights that stay, and why: for a report.
  std::vector<std::string> notes;
};

/// As a portal's `poolings` have it.
absl::string_view PoolingName(Pooling pooling);
/// What the portal will do, for a report: "users: sum, csr, weighted".
std::string LookupText(const LookupGraph& graph, const GraphLookup& lookup);

/// Finds weights of at least `min_bytes` that nobody but lookups reads: Gather along axis 0, with a ReduceSum or
/// ReduceMean over the bag behind it, weighted by a Mul in between, and the loops that PyTorch's exporters make of
/// nn.EmbeddingBag. Types are learnt from ONNX Runtime. `index` is that of `model`. INVALID_ARGUMENT where there is
/// none.
///
/// A loop is known by what its body reads and computes with, not by each of its nodes: compare before it is believed.
absl::StatusOr<LookupGraph> FindLookups(const Model& model, const GraphIndex& index, uint64_t min_bytes);

/// `model` with these of its weights as inputs, behind its own: it can be run over weights as they are mapped, without
/// a copy of them.
absl::StatusOr<Model> WeightsAsInputs(const Model& model, const std::vector<TableWeight>& weights);

}  // namespace portico
