#pragma once

#include <vector>

#include "absl/types/span.h"
#include "models/share/product_graph.h"

namespace portico {

/// Which nodes of several products do the same. A value.
struct CommonNodes {
  /// One entry for each node that at least two products have: its number in each product, −1 in those without it.
  std::vector<std::vector<int>> classes;
  /// [product][node]: its class, or −1.
  std::vector<std::vector<int>> class_of;
  /// The search was given up before it had tried all: what is here is right, and there may be more.
  bool incomplete = false;
};

/// Pairs nodes of the products, two products at a time.
///
/// First by how they are computed from the inputs of the graph: from the last node down, two nodes of equal structure
/// are paired together with all that they are computed from, so that it comes out which input of one product stands
/// for which of the other. Then by their weights: nodes that do the same with the same weights, of which each product
/// has one, are paired wherever they stand, and from them what is around, as far as it is the same in both.
///
/// Nodes of one class do the same (`ProductGraph::Node::alone`); that they are also connected the same is looked at
/// later, edge by edge. Takes about linear time for each pair of products; where structures repeat so often that it
/// would not, it gives up.
CommonNodes FindCommonNodes(absl::Span<const ProductGraph> products);

}  // namespace portico
