#include "models/graph/portal_spec.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
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

absl::Status CheckCount(absl::string_view attribute, size_t got, int want, absl::string_view of) {
  if (static_cast<int>(got) == want) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("attribute '", attribute, "': got ", got, " entries, want ", want, ", one for each ", of));
}

/// Reads "N,64" into `spec`.
absl::Status ReadShape(absl::string_view text, TensorSpec& spec) {
  if (text == "...") {
    spec.has_rank = false;
    return absl::OkStatus();
  }
  if (text.empty()) return absl::OkStatus();
  for (absl::string_view word : absl::StrSplit(text, ',')) {
    word = absl::StripAsciiWhitespace(word);
    Dim dim;
    if (word.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("attribute 'output_shapes': got '", text,
                                                     "', want a number, a symbol or '?' between commas, '' or '...'"));
    }
    if (absl::ascii_isdigit(word[0]) || word[0] == '-') {
      if (!absl::SimpleAtoi(word, &dim.extent) || dim.extent < 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("attribute 'output_shapes': got extent '", word, "', want a number from 0 on"));
      }
    } else if (word != "?") {
      dim.symbol = std::string(word);
    }
    spec.dims.push_back(std::move(dim));
  }
  return absl::OkStatus();
}

absl::Status ReadOutputs(const onnx::NodeProto& node, PortalSpec& spec) {
  ASSIGN_OR_RETURN(const AttributeProto* dtypes, Find(node, "output_dtypes", AttributeProto::INTS));
  ASSIGN_OR_RETURN(const std::vector<std::string> shapes, StringsAttribute(node, "output_shapes"));
  ASSIGN_OR_RETURN(const std::vector<std::string> names, StringsAttribute(node, "output_names"));
  const int num_dtypes = dtypes == nullptr ? 0 : dtypes->ints_size();
  RETURN_IF_ERROR(CheckCount("output_dtypes", num_dtypes, node.output_size(), "output"));
  RETURN_IF_ERROR(CheckCount("output_shapes", shapes.size(), node.output_size(), "output"));
  if (!names.empty() || spec.digest.empty()) {
    RETURN_IF_ERROR(CheckCount("output_names", names.size(), node.output_size(), "output"));
  }
  for (int i = 0; i < node.output_size(); ++i) {
    TensorSpec output;
    output.graph_name = node.output(i);
    output.name = names.empty() ? node.output(i) : names[i];
    auto dtype = DTypeFromNumber(dtypes->ints(i));
    if (!dtype.ok()) return WithContext("attribute 'output_dtypes'", dtype.status());
    output.dtype = *dtype;
    RETURN_IF_ERROR(ReadShape(shapes[i], output));
    spec.outputs.push_back(std::move(output));
  }
  return absl::OkStatus();
}

absl::Status Read(const onnx::NodeProto& node, PortalSpec& spec) {
  spec.op_type = node.op_type();
  spec.node_name = node.name().empty() && node.output_size() > 0 ? node.output(0) : node.name();
  ASSIGN_OR_RETURN(spec.target, StringAttribute(node, "target", ""));
  if (spec.target.empty()) {
    return absl::InvalidArgumentError("attribute 'target': got none, want the name of the servable to call");
  }
  ASSIGN_OR_RETURN(spec.signature, StringAttribute(node, "signature", kDefaultSignature));
  ASSIGN_OR_RETURN(const std::string digest, StringAttribute(node, "digest", ""));
  if (!digest.empty()) {
    auto parsed = Digest::FromHex(digest);
    if (!parsed.ok()) return WithContext("attribute 'digest'", parsed.status());
    spec.digest = *parsed;
  }
  for (int i = 0; i < node.input_size(); ++i) {
    if (node.input(i).empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("input ", i, ": got none, want a tensor; a portal has no optional inputs"));
    }
  }
  ASSIGN_OR_RETURN(spec.input_names, StringsAttribute(node, "input_names"));
  if (!spec.input_names.empty() || spec.digest.empty()) {
    RETURN_IF_ERROR(CheckCount("input_names", spec.input_names.size(), node.input_size(), "input"));
  }
  return ReadOutputs(node, spec);
}

}  // namespace

std::string DescribeNode(const onnx::NodeProto& node) {
  const std::string& name = node.name().empty() && node.output_size() > 0 ? node.output(0) : node.name();
  return absl::StrCat("node '", name, "' (", node.op_type(), ")");
}

absl::StatusOr<PortalSpec> ReadPortalSpec(const onnx::NodeProto& node) {
  PortalSpec spec;
  const absl::Status read = Read(node, spec);
  if (!read.ok()) return WithContext(DescribeNode(node), read);
  return spec;
}

}  // namespace portico
