#pragma once

#include "absl/status/statusor.h"
#include "models/graph/graph_plan.h"

namespace onnx {
class NodeProto;
}

namespace portico {

/// The portal that `node` (of domain `ai.portico`) describes. INVALID_ARGUMENT when attributes are missing or do not
/// fit the node's inputs and outputs.
absl::StatusOr<PortalSpec> ReadPortalSpec(const onnx::NodeProto& node);

/// "node 'conv1' (Conv)"; a node without a name goes by what it computes.
std::string DescribeNode(const onnx::NodeProto& node);

}  // namespace portico
