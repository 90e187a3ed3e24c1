#include "models/graph/portal_attributes.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

using onnx::AttributeProto;

/// The attribute `name` of `node`; null when there is none. INVALID_ARGUMENT when it is of another type.
absl::StatusOr<const AttributeProto*> Find(const onnx::NodeProto& node, absl::string_view name,
                                           AttributeProto::AttributeType type) {
  for (const AttributeProto& attribute : node.attribute()) {
    if (attribute.name() != name) continue;
    if (attribute.type() != type) {
      return absl::InvalidArgumentError(absl::StrCat("attribute '", name, "': got ",
                                                     AttributeProto::AttributeType_Name(attribute.type()), ", want ",
                                                     AttributeProto::AttributeType_Name(type)));
    }
    return &attribute;
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<std::string> StringAttribute(const onnx::NodeProto& node, absl::string_view name,
                                            absl::string_view otherwise) {
  ASSIGN_OR_RETURN(const AttributeProto* attribute, Find(node, name, AttributeProto::STRING));
  return attribute == nullptr || attribute->s().empty() ? std::string(otherwise) : attribute->s();
}

absl::StatusOr<std::vector<std::string>> StringsAttribute(const onnx::NodeProto& node, absl::string_view name) {
  ASSIGN_OR_RETURN(const AttributeProto* attribute, Find(node, name, AttributeProto::STRINGS));
  if (attribute == nullptr) return std::vector<std::string>();
  return std::vector<std::string>(attribute->strings().begin(), attribute->strings().end());
}

absl::StatusOr<int64_t> IntAttribute(const onnx::NodeProto& node, absl::string_view name, int64_t otherwise) {
  ASSIGN_OR_RETURN(const AttributeProto* attribute, Find(node, name, AttributeProto::INT));
  return attribute == nullptr ? otherwise : attribute->i();
}

absl::StatusOr<std::vector<int64_t>> IntsAttribute(const onnx::NodeProto& node, absl::string_view name) {
  ASSIGN_OR_RETURN(const AttributeProto* attribute, Find(node, name, AttributeProto::INTS));
  if (attribute == nullptr) return std::vector<int64_t>();
  return std::vector<int64_t>(attribute->ints().begin(), attribute->ints().end());
}

absl::StatusOr<std::vector<float>> FloatsAttribute(const onnx::NodeProto& node, absl::string_view name) {
  ASSIGN_OR_RETURN(const AttributeProto* attribute, Find(node, name, AttributeProto::FLOATS));
  if (attribute == nullptr) return std::vector<float>();
  return std::vector<float>(attribute->floats().begin(), attribute->floats().end());
}

absl::StatusOr<float> FloatAttribute(const onnx::NodeProto& node, absl::string_view name, float otherwise) {
  ASSIGN_OR_RETURN(const AttributeProto* attribute, Find(node, name, AttributeProto::FLOAT));
  return attribute == nullptr ? otherwise : attribute->f();
}

absl::StatusOr<bool> BoolAttribute(const onnx::NodeProto& node, absl::string_view name) {
  ASSIGN_OR_RETURN(const int64_t value, IntAttribute(node, name, 0));
  if (value == 0 || value == 1) return value == 1;
  return absl::InvalidArgumentError(absl::StrCat("attribute '", name, "': got ", value, ", want 0 or 1"));
}

absl::Status CheckCount(absl::string_view attribute, size_t got, int want, absl::string_view of) {
  if (static_cast<int>(got) == want) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("attribute '", attribute, "': got ", got, " entries, want ", want, ", one for each ", of));
}

}  // namespace portico
