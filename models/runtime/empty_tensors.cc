#include "models/runtime/empty_tensors.h"

#include <cstdint>
#include <vector>

#include "base/wire.h"

namespace portico {
namespace {

// Field numbers of onnx.proto.
constexpr uint32_t kModelGraph = 7, kModelFunction = 25, kGraphNode = 1, kFunctionNode = 7, kNodeOpType = 4,
                   kNodeAttribute = 5, kAttributeGraph = 6, kAttributeGraphs = 11;

struct Body {
  absl::string_view bytes;
  /// Which field its nodes are.
  uint32_t node;
};

}  // namespace

bool DividesByRows(absl::string_view model) {
  std::vector<Body> bodies;
  for (WireReader in(model); in.Next();) {
    if (in.field() == kModelGraph) bodies.push_back({in.Bytes(), kGraphNode});
    if (in.field() == kModelFunction) bodies.push_back({in.Bytes(), kFunctionNode});
  }
  while (!bodies.empty()) {
    const Body body = bodies.back();
    bodies.pop_back();
    for (WireReader in(body.bytes); in.Next();) {
      if (in.field() != body.node) continue;
      for (WireReader node(in.Bytes()); node.Next();) {
        if (node.field() == kNodeOpType && node.Bytes() == "TopK") return true;
        if (node.field() != kNodeAttribute) continue;
        for (WireReader attribute(node.Bytes()); attribute.Next();) {
          if (attribute.field() != kAttributeGraph && attribute.field() != kAttributeGraphs) continue;
          bodies.push_back({attribute.Bytes(), kGraphNode});
        }
      }
    }
  }
  return false;
}

}  // namespace portico
