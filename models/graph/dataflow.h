#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "models/package/model.h"
#include "models/package/signature.h"

namespace onnx {
class GraphProto;
class ModelProto;
class NodeProto;
}  // namespace onnx

namespace portico {

/// What of a model's graph a signature needs: its nodes in a topological order, and which tensors tie them together.
/// Tensors are numbered. Borrows model and signature, which must outlive it.
struct Dataflow {
  struct Node {
    const onnx::NodeProto* proto = nullptr;
    bool portal = false;
    /// Depends on nothing but weights, and gives the same each time: may be computed more than once.
    bool constant = false;
    /// Distinct tensors it reads, captured by bodies too.
    std::vector<int> inputs;
    /// Tensors of the node's outputs; −1 where an output is left out.
    std::vector<int> outputs;
  };
  struct TensorInfo {
    absl::string_view name;
    /// Index of the node that computes it; −1: an input of the signature or a weight.
    int producer = -1;
    bool is_weight = false;
  };

  std::vector<Node> nodes;
  std::vector<TensorInfo> tensors;
  /// Tensors of the signature's inputs and outputs, in order.
  std::vector<int> inputs;
  std::vector<int> outputs;
  absl::flat_hash_map<absl::string_view, int> tensor_by_name;
};

/// INVALID_ARGUMENT, with its path, when a portal is inside the body of an If, Loop or Scan or inside a local function.
absl::Status CheckPortalPlaces(const onnx::ModelProto& model);

/// INVALID_ARGUMENT as CheckPortalPlaces(), when two nodes compute one tensor, when the
/// graph has a cycle or nobody computes a tensor that is needed. Linear in the size of the graph.
absl::StatusOr<Dataflow> ReadDataflow(const Model& model, const Signature& signature);

}  // namespace portico
