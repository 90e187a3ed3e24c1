#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "models/package/model.h"
#include "onnx/onnx_pb.h"

namespace portico {
namespace {

absl::string_view KindName(onnx::TypeProto::ValueCase kind) {
  switch (kind) {
    case onnx::TypeProto::kTensorType:
      return "a dense tensor";
    case onnx::TypeProto::kSequenceType:
      return "a sequence";
    case onnx::TypeProto::kMapType:
      return "a map";
    case onnx::TypeProto::kOptionalType:
      return "an optional";
    case onnx::TypeProto::kSparseTensorType:
      return "a sparse tensor";
    case onnx::TypeProto::VALUE_NOT_SET:
      return "no type";
    default:
      return "an opaque value";
  }
}

/// dtype and shape of `type` put into `spec`.
absl::Status ReadType(const onnx::TypeProto::Tensor& type, TensorSpec& spec) {
  ASSIGN_OR_RETURN(spec.dtype, DTypeFromNumber(type.elem_type()));
  spec.has_rank = type.has_shape();
  for (const onnx::TensorShapeProto::Dimension& dim : type.shape().dim()) {
    Dim read;
    if (dim.has_dim_value() && dim.dim_value() >= 0) read.extent = dim.dim_value();
    if (dim.has_dim_param() && dim.dim_param() != "?") read.symbol = dim.dim_param();
    spec.dims.push_back(std::move(read));
  }
  return absl::OkStatus();
}

absl::StatusOr<TensorSpec> ReadSpec(const onnx::ValueInfoProto& value, bool is_output) {
  TensorSpec spec;
  spec.name = value.name();
  spec.graph_name = value.name();
  spec.has_rank = false;
  const onnx::TypeProto::ValueCase kind = value.type().value_case();
  // Exporters may leave the type of an output to be inferred; that of an input cannot be.
  if (is_output && kind == onnx::TypeProto::VALUE_NOT_SET) return spec;
  if (kind != onnx::TypeProto::kTensorType) {
    return absl::InvalidArgumentError(
        absl::StrCat("got ", KindName(kind), ", want a dense tensor; only dense tensors are served"));
  }
  if (is_output && value.type().tensor_type().elem_type() == onnx::TensorProto::UNDEFINED) return spec;
  RETURN_IF_ERROR(ReadType(value.type().tensor_type(), spec));
  return spec;
}

}  // namespace

absl::StatusOr<Signature> GraphSignature(const Model& model) {
  const onnx::GraphProto& graph = model.proto().graph();
  Signature signature;
  signature.name = std::string(kDefaultSignature);
  for (const onnx::ValueInfoProto& input : graph.input()) {
    // Before IR version 4 every initializer was listed as an input too, later ones may be: it is a weight all the same.
    if (model.initializers().contains(input.name())) continue;
    absl::StatusOr<TensorSpec> spec = ReadSpec(input, false);
    if (!spec.ok()) return WithContext(absl::StrCat("input '", input.name(), "'"), spec.status());
    if (signature.InputIndex(input.name()) >= 0) {
      return absl::InvalidArgumentError(absl::StrCat("input '", input.name(), "': got two of that name, want one"));
    }
    signature.inputs.push_back(*std::move(spec));
  }
  for (const onnx::ValueInfoProto& output : graph.output()) {
    absl::StatusOr<TensorSpec> spec = ReadSpec(output, true);
    if (!spec.ok()) return WithContext(absl::StrCat("output '", output.name(), "'"), spec.status());
    signature.outputs.push_back(*std::move(spec));
  }
  return signature;
}

}  // namespace portico
