#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/graph/graph_plan.h"
#include "models/graph/portal_target.h"

namespace onnx {
class NodeProto;
}

namespace portico {

/// The portal that `node` (of domain `ai.portico`) describes. INVALID_ARGUMENT when attributes are missing or do not
/// fit the node's inputs and outputs.
absl::StatusOr<PortalSpec> ReadPortalSpec(const onnx::NodeProto& node);

/// What the portal calls: its experts, or the one target of another op; of an EmbeddingBag the group, whose shards the
/// revision knows.
std::vector<PortalTarget> PortalTargets(const PortalSpec& spec);

/// Their names for a message: "a", or "a, b, c and 61 more".
std::string TargetNames(const PortalSpec& spec);

/// INVALID_ARGUMENT unless the gate of an `Experts`, as far as its type is known, has a float for each expert and row.
absl::Status CheckGateType(const PortalSpec& spec, const TensorSpec& gate);

/// "node 'conv1' (Conv)"; a node without a name goes by what it computes.
std::string DescribeNode(const onnx::NodeProto& node);

}  // namespace portico
