#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "models/package/model.h"
#include "models/split/graph_index.h"

namespace onnx {
class GraphProto;
}  // namespace onnx

namespace portico {

/// For each node of `index`, which is that of `model`: whether an output of the graph needs it.
std::vector<bool> LiveNodes(const Model& model, const GraphIndex& index);

/// Drops the initializers of `graph` that no node reads and that are no output, from `weights` too.
void DropUnread(onnx::GraphProto& graph, absl::flat_hash_map<std::string, Initializer>& weights);

/// `model` without the nodes that no output needs and the weights that they alone read: a dead node that reads what is
/// inside a module would stand in the way of cutting it out. Weights are shared with `model`. Nothing where all nodes
/// are needed. INVALID_ARGUMENT as GraphIndex::Create().
absl::StatusOr<std::optional<Model>> DropDeadNodes(const Model& model);

}  // namespace portico
