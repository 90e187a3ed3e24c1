#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "models/package/signature.h"

namespace onnx {
class NodeProto;
}

namespace portico {

// What a portal's node says (PortalSpec, graph_plan.h), written down.

void AddString(absl::string_view name, absl::string_view value, onnx::NodeProto* node);
void AddStrings(absl::string_view name, const std::vector<std::string>& values, onnx::NodeProto* node);
void AddInt(absl::string_view name, int64_t value, onnx::NodeProto* node);
void AddInts(absl::string_view name, const std::vector<int64_t>& values, onnx::NodeProto* node);
/// output_dtypes and output_shapes.
void AddOutputTypes(const std::vector<TensorSpec>& outputs, onnx::NodeProto* node);

// The same of a node that says something else so far.

/// The attribute is there already.
void SetString(absl::string_view name, absl::string_view value, onnx::NodeProto* node);
/// As many of output_shapes as there are.
void SetOutputShapes(absl::Span<const TensorSpec> outputs, onnx::NodeProto* node);

}  // namespace portico
