#include "models/graph/portal_spec.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "embedding/lookup_call.h"
#include "models/graph/portal_attributes.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

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

/// What a node has beside the inputs and outputs of its target.
struct Own {
  int inputs = 0;
  int outputs = 0;
};

/// `by_name`: tensors of calls go by name, so that there have to be some.
absl::Status ReadOutputs(const onnx::NodeProto& node, const Own& own, bool by_name, PortalSpec& spec) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> dtypes, IntsAttribute(node, "output_dtypes"));
  ASSIGN_OR_RETURN(const std::vector<std::string> shapes, StringsAttribute(node, "output_shapes"));
  ASSIGN_OR_RETURN(const std::vector<std::string> names, StringsAttribute(node, "output_names"));
  // Those of its own may be described or not: what they are is known.
  const int target_outputs = node.output_size() - own.outputs;
  const auto described = [&](size_t got) {
    return static_cast<int>(got) == node.output_size() ? node.output_size() : target_outputs;
  };
  RETURN_IF_ERROR(CheckCount("output_dtypes", dtypes.size(), described(dtypes.size()), "output"));
  RETURN_IF_ERROR(CheckCount("output_shapes", shapes.size(), described(shapes.size()), "output"));
  if (!names.empty() || by_name) RETURN_IF_ERROR(CheckCount("output_names", names.size(), target_outputs, "output"));
  for (int i = 0; i < target_outputs; ++i) {
    TensorSpec output;
    output.graph_name = node.output(i);
    output.name = names.empty() ? node.output(i) : names[i];
    auto dtype = DTypeFromNumber(dtypes[i]);
    if (!dtype.ok()) return WithContext("attribute 'output_dtypes'", dtype.status());
    output.dtype = *dtype;
    RETURN_IF_ERROR(ReadShape(shapes[i], output));
    spec.outputs.push_back(std::move(output));
  }
  return absl::OkStatus();
}

/// int8[N], N as the first answer has it.
TensorSpec RowStatusOutput(const onnx::NodeProto& node, const PortalSpec& spec) {
  TensorSpec status;
  status.graph_name = node.output(node.output_size() - 1);
  status.name = "row_status";
  status.dtype = DType::kInt8;
  const TensorSpec& first = spec.outputs[0];
  status.dims = {first.dims.empty() ? Dim() : first.dims[0]};
  return status;
}

/// Outputs of experts are added up row by row.
absl::Status CheckExpertOutputs(const PortalSpec& spec) {
  for (const TensorSpec& output : spec.outputs) {
    const bool by_row = !output.has_rank || (!output.dims.empty() && output.dims[0].extent < 0);
    if (by_row && output.dtype == DType::kFloat) continue;
    return absl::InvalidArgumentError(absl::StrCat("output '", output.name, "': got ", output.ToString(),
                                                   ", want float32[N,...], rows that can be weighted and added"));
  }
  return absl::OkStatus();
}

/// What the portal calls. Sets whether tensors of its calls go by name: where a digest is not known.
absl::Status ReadTargets(const onnx::NodeProto& node, PortalSpec& spec, bool* by_name) {
  if (spec.op_type == "Experts") {
    ASSIGN_OR_RETURN(spec.experts, ReadExpertsSpec(node));
    *by_name = absl::c_any_of(spec.experts->targets, [](const PortalTarget& one) { return one.digest.empty(); });
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(spec.target, StringAttribute(node, "target", ""));
  if (spec.target.empty()) {
    return absl::InvalidArgumentError("attribute 'target': got none, want the name of the servable to call");
  }
  ASSIGN_OR_RETURN(const std::string digest, StringAttribute(node, "digest", ""));
  if (!digest.empty()) {
    auto parsed = Digest::FromHex(digest);
    if (!parsed.ok()) return WithContext("attribute 'digest'", parsed.status());
    spec.digest = *parsed;
  }
  if (spec.op_type == "EmbeddingBag") {
    // Its shards' tensors have positions of their own.
    if (digest.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("attribute 'digest': got '", digest,
                                                   "', want none; the revision says what the group's shards are"));
  }
  *by_name = spec.digest.empty();
  return absl::OkStatus();
}

absl::string_view DefaultSignatureOf(absl::string_view op_type) {
  return op_type == "EmbeddingBag" ? LookupCall::kSignature : kDefaultSignature;
}

absl::Status Read(const onnx::NodeProto& node, PortalSpec& spec) {
  spec.op_type = node.op_type();
  spec.node_name = node.name().empty() && node.output_size() > 0 ? node.output(0) : node.name();
  bool by_name = false;
  RETURN_IF_ERROR(ReadTargets(node, spec, &by_name));
  ASSIGN_OR_RETURN(spec.signature, StringAttribute(node, "signature", DefaultSignatureOf(spec.op_type)));
  for (int i = 0; i < node.input_size(); ++i) {
    if (node.input(i).empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("input ", i, ": got none, want a tensor; a portal has no optional inputs"));
    }
  }
  Own own;
  if (spec.op_type == "Cascade") {
    ASSIGN_OR_RETURN(spec.cascade, ReadCascadeSpec(node));
    own = {spec.cascade->own_inputs(), spec.cascade->row_status ? 1 : 0};
  } else if (spec.experts.has_value()) {
    own = {1, spec.experts->row_status ? 1 : 0};
    if (node.input_size() <= own.inputs || node.output_size() <= own.outputs) {
      return absl::InvalidArgumentError(absl::StrCat("got ", node.input_size(), " inputs and ", node.output_size(),
                                                     " outputs, want a gate, the experts' inputs and at least ",
                                                     own.outputs + 1, " outputs"));
    }
  } else if (spec.op_type == "EmbeddingBag") {
    ASSIGN_OR_RETURN(spec.embedding, ReadEmbeddingSpec(node));
  }
  ASSIGN_OR_RETURN(spec.input_names, StringsAttribute(node, "input_names"));
  if (!spec.input_names.empty() || by_name) {
    RETURN_IF_ERROR(
        CheckCount("input_names", spec.input_names.size(), node.input_size() - own.inputs, "input of the target"));
  }
  RETURN_IF_ERROR(ReadOutputs(node, own, by_name, spec));
  if (spec.cascade.has_value()) RETURN_IF_ERROR(CheckCascadeAnswers(spec));
  if (spec.experts.has_value()) RETURN_IF_ERROR(CheckExpertOutputs(spec));
  if (spec.embedding.has_value()) RETURN_IF_ERROR(CheckEmbeddingOutputs(*spec.embedding, spec.outputs));
  if (own.outputs > 0) spec.outputs.push_back(RowStatusOutput(node, spec));
  return absl::OkStatus();
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

std::vector<PortalTarget> PortalTargets(const PortalSpec& spec) {
  if (spec.experts.has_value()) return spec.experts->targets;
  return {{spec.target, spec.digest}};
}

absl::Status CheckGateType(const PortalSpec& spec, const TensorSpec& gate) {
  const auto experts = static_cast<int64_t>(spec.experts->targets.size());
  const bool fits = (gate.dtype == DType::kInvalid || gate.dtype == DType::kFloat) &&
                    (!gate.has_rank || gate.dtype == DType::kInvalid ||
                     (gate.dims.size() == 2 && (gate.dims[1].extent < 0 || gate.dims[1].extent == experts)));
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("gate: got ", gate.ToString(), ", want float32[N,", experts,
                                                 "], one column for each of the ", experts, " experts"));
}

std::string TargetNames(const PortalSpec& spec) {
  constexpr size_t kShown = 3;
  const std::vector<PortalTarget> targets = PortalTargets(spec);
  std::string names;
  for (size_t i = 0; i < std::min(targets.size(), kShown); ++i) {
    absl::StrAppend(&names, i == 0 ? "" : ", ", targets[i].name);
  }
  if (targets.size() > kShown) absl::StrAppend(&names, " and ", targets.size() - kShown, " more");
  return names;
}

}  // namespace portico
