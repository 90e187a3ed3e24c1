#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/split/graph_index.h"
#include "models/split/plan.h"

namespace portico {

/// One part of a graph: its nodes and the tensors at its border, in the order of its signature.
struct Cut {
  const PartPlan* plan = nullptr;
  /// In topological order, constant nodes left out.
  std::vector<int> nodes;
  /// Those of the plan first, then inputs of the graph, then outputs of other parts.
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
};

/// A step of what remains of a graph: one of its nodes, or a cut.
struct CutStep {
  int node = -1;
  int cut = -1;
};

/// A graph with parts taken out: the cuts, as the plan has them, and what remains, in topological order (constant nodes
/// left out). Borrows the plan.
struct CutGraph {
  std::vector<Cut> cuts;
  std::vector<CutStep> steps;
};

/// Finds the nodes of each of `parts`: backwards from its outputs to its inputs, outputs of other parts, inputs of the
/// graph and weights. INVALID_ARGUMENT naming part and tensor when that is impossible; see Split().
absl::StatusOr<CutGraph> CutParts(const GraphIndex& index, const std::vector<PartPlan>& parts);

}  // namespace portico
