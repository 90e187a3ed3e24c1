#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/digest.h"
#include "models/package/model.h"
#include "models/split/graph_index.h"

namespace portico {

/// What of a model's graph is compared with other models': the nodes that its outputs need and that compute more than
/// constants, in a topological order, with digests of what each does and of how each comes about. A value.
struct ProductGraph {
  struct Node {
    /// Number in the GraphIndex.
    int index = -1;
    /// Deterministic, as far as is known; others are never shared. Portals are where they say what they call.
    bool shareable = false;
    bool is_portal = false;
    /// TensorDigests::OfNodeAlone().
    Digest alone;
    /// Of how its first output is computed from inputs that count by dtype.
    Digest structure;
    /// Tensors it reads, by place; then those its bodies capture. −1: a constant, or left out.
    std::vector<int> slots;
    /// −1: left out.
    std::vector<int> outputs;
    /// Distinct constants that it reads, or that what it reads is computed from, as numbers of `constants`.
    std::vector<int> constants;
  };
  struct Reader {
    int node = -1;
    int slot = -1;
  };
  /// An input of the graph, or computed by one of the nodes.
  struct TensorInfo {
    std::string name;
    /// −1: an input of the graph.
    int producer = -1;
    int output = -1;
    bool is_output = false;
    std::vector<Reader> readers;
  };
  /// A weight or a Constant node; equal ones are one. What is computed from more than 64 of them is one of its own.
  struct Constant {
    Digest digest;
    uint64_t bytes = 0;
  };

  std::vector<Node> nodes;
  std::vector<TensorInfo> tensors;
  std::vector<Constant> constants;
  /// Constants that outputs of the graph are, or are computed from: the product keeps them.
  std::vector<int> output_constants;

  /// INVALID_ARGUMENT for a cycle, a tensor that nobody computes, and portals that no node would take.
  /// Takes time linear in the size of the graph; weights were hashed when the model was loaded.
  static absl::StatusOr<ProductGraph> Create(const Model& model, const GraphIndex& index);
};

}  // namespace portico
