#pragma once

#include <vector>

#include "absl/strings/string_view.h"

namespace onnx {
class GraphProto;
class NodeProto;
}  // namespace onnx

namespace portico {

/// Calls `visit(attribute, body)` for each body (of an If, Loop or Scan) in the attributes of `node`.
template <typename Node, typename Visit>
void ForEachBody(const Node& node, const Visit& visit) {
  for (const auto& attribute : node.attribute()) {
    if (attribute.has_g()) visit(attribute, attribute.g());
    for (const auto& body : attribute.graphs()) visit(attribute, body);
  }
}

/// Names that `body` uses and does not define: what it captures from around it, nested bodies included. Views of the
/// graph.
std::vector<absl::string_view> CapturedNames(const onnx::GraphProto& body);

/// Distinct tensors that `node` reads, those captured by its bodies included. Views of the node.
std::vector<absl::string_view> TensorsRead(const onnx::NodeProto& node);

}  // namespace portico
