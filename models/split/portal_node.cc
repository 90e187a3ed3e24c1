#include "models/split/portal_node.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

/// A shape as portals declare it: "N,64".
std::string PortalShape(const TensorSpec& spec) {
  if (!spec.has_rank) return "...";
  return absl::StrJoin(spec.dims, ",", [](std::string* out, const Dim& dim) {
    const bool plain = !dim.symbol.empty() && absl::ascii_isalpha(static_cast<unsigned char>(dim.symbol[0])) &&
                       std::all_of(dim.symbol.begin(), dim.symbol.end(),
                                   [](unsigned char c) { return absl::ascii_isalnum(c) || c == '_'; });
    if (dim.extent >= 0) {
      absl::StrAppend(out, dim.extent);
    } else {
      absl::StrAppend(out, plain ? dim.symbol : "?");
    }
  });
}

}  // namespace

void AddString(absl::string_view name, absl::string_view value, onnx::NodeProto* node) {
  auto* attribute = node->add_attribute();
  attribute->set_name(std::string(name));
  attribute->set_type(onnx::AttributeProto::STRING);
  attribute->set_s(std::string(value));
}

void AddStrings(absl::string_view name, const std::vector<std::string>& values, onnx::NodeProto* node) {
  auto* attribute = node->add_attribute();
  attribute->set_name(std::string(name));
  attribute->set_type(onnx::AttributeProto::STRINGS);
  for (const std::string& value : values) attribute->add_strings(value);
}

void AddInt(absl::string_view name, int64_t value, onnx::NodeProto* node) {
  auto* attribute = node->add_attribute();
  attribute->set_name(std::string(name));
  attribute->set_type(onnx::AttributeProto::INT);
  attribute->set_i(value);
}

void AddInts(absl::string_view name, const std::vector<int64_t>& values, onnx::NodeProto* node) {
  auto* attribute = node->add_attribute();
  attribute->set_name(std::string(name));
  attribute->set_type(onnx::AttributeProto::INTS);
  for (const int64_t value : values) attribute->add_ints(value);
}

void AddOutputTypes(const std::vector<TensorSpec>& outputs, onnx::NodeProto* node) {
  std::vector<int64_t> dtypes;
  std::vector<std::string> shapes;
  for (const TensorSpec& output : outputs) {
    dtypes.push_back(static_cast<int64_t>(output.dtype));
    shapes.push_back(PortalShape(output));
  }
  AddInts("output_dtypes", dtypes, node);
  AddStrings("output_shapes", shapes, node);
}

void SetOutputShapes(absl::Span<const TensorSpec> outputs, onnx::NodeProto* node) {
  for (auto& attribute : *node->mutable_attribute()) {
    if (attribute.name() != "output_shapes") continue;
    for (int i = 0; i < attribute.strings_size() && static_cast<size_t>(i) < outputs.size(); ++i) {
      attribute.set_strings(i, PortalShape(outputs[static_cast<size_t>(i)]));
    }
  }
}

void SetString(absl::string_view name, absl::string_view value, onnx::NodeProto* node) {
  for (auto& attribute : *node->mutable_attribute()) {
    if (attribute.name() == name) attribute.set_s(std::string(value));
  }
}

}  // namespace portico
