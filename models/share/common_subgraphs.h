#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "models/share/common_nodes.h"
#include "models/share/product_graph.h"

namespace portico {

/// A subgraph that several products have, such that it can be cut out of each of them: convex, equal in what its nodes
/// do and in how they are connected, with the same inputs and outputs in the same order.
struct CommonSubgraph {
  /// Ascending; two at least.
  std::vector<int> products;
  /// [i][j]: of products[i], the j-th. Nodes in a topological order; inputs and outputs as tensors.
  std::vector<std::vector<int>> nodes;
  std::vector<std::vector<int>> inputs;
  std::vector<std::vector<int>> outputs;
  /// Distinct weights in it.
  uint64_t weight_bytes = 0;
  /// What the products have less of, all together, less what the subgraph itself takes.
  uint64_t saved_bytes = 0;
};

struct CommonSubgraphOptions {
  /// What saves less is not listed.
  uint64_t min_bytes = 64 << 10;
  /// Most tensors that go in, and most that come out.
  int max_tensors = 8;
  int max_subgraphs = 32;
};

struct CommonSubgraphs {
  /// The one that saves most first; no node is in two.
  std::vector<CommonSubgraph> subgraphs;
  /// What the largest that was left out as too small would save at most; 0: there was none.
  uint64_t below_min_bytes = 0;
  /// Weights of the largest that was left out because more than max_tensors cross its border wherever it ends.
  uint64_t too_wide_bytes = 0;
  /// The search was given up before it had tried all.
  bool incomplete = false;
};

/// Takes, again and again, the subgraph that saves most weight bytes. Each ends where the fewest tensors cross, looked
/// for among the places that keep 99 % of its weights; of equally wide places the last.
CommonSubgraphs FindCommonSubgraphs(absl::Span<const ProductGraph> products, const CommonNodes& common,
                                    const CommonSubgraphOptions& options);

}  // namespace portico
