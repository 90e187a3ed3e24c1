#include "node/frontend/tfs_results.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/wire.h"
#include "codec/json_text.h"
#include "codec/tf_dtype.h"
#include "simdjson.h"

namespace portico {
namespace {

constexpr char kClasses[] = "classes";
constexpr char kScores[] = "scores";
constexpr char kOutputs[] = "outputs";

/// Null where there is no such output.
const Tensor* Find(const Signature& signature, absl::Span<const Tensor> outputs, absl::string_view name) {
  const int index = signature.OutputIndex(name);
  return index < 0 ? nullptr : &outputs[static_cast<size_t>(index)];
}

std::string Describe(const Signature& signature) {
  const auto name = [](std::string* out, const TensorSpec& spec) {
    absl::StrAppend(out, spec.name, ": ", spec.ToString());
  };
  return absl::StrCat("'", signature.name, "' (", absl::StrJoin(signature.inputs, ", ", name), ") -> (",
                      absl::StrJoin(signature.outputs, ", ", name), ")");
}

/// Of `classes` or `scores`.
absl::Status CheckMatrix(absl::string_view name, const Tensor& tensor, DType dtype, absl::string_view dtype_name,
                         int64_t examples) {
  if (tensor.shape().size() != 2) {
    return absl::InvalidArgumentError(absl::StrCat("Expected Tensor shape: [batch_size num_classes] but got ",
                                                   ShapeString(tensor.shape()), " as output '", name, "'"));
  }
  if (tensor.dtype() != dtype) {
    return absl::InvalidArgumentError(
        absl::StrCat("Expected ", name, " Tensor of ", dtype_name, ". Got: ", TfTypeName(tensor.dtype())));
  }
  if (tensor.rows() != examples) {
    return absl::InvalidArgumentError(
        absl::StrCat("Expected ", name, " output batch size of ", examples, ". Got: ", tensor.rows()));
  }
  return absl::OkStatus();
}

float FloatAt(const Tensor& tensor, uint64_t index) {
  float value;
  std::memcpy(&value, tensor.bytes().data() + index * sizeof(value), sizeof(value));
  return value;
}

uint32_t BitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

/// Bytes of a field of one-byte tag that holds `length` bytes.
uint64_t FieldSize(uint64_t length) { return 1 + WireWriter::VarintSize(length) + length; }

constexpr uint64_t kFloatFieldSize = 1 + sizeof(float);

}  // namespace

absl::StatusOr<ResultKind> ResultKindOf(absl::string_view method_name) {
  if (method_name == "tensorflow/serving/classify") return ResultKind::kClassify;
  if (method_name == "tensorflow/serving/regress") return ResultKind::kRegress;
  return absl::UnimplementedError(absl::StrCat("Unsupported signature method_name: ", method_name));
}

absl::Status CheckResultSignature(ResultKind kind, const Signature& signature) {
  if (kind == ResultKind::kRegress) {
    if (signature.OutputIndex(kOutputs) >= 0) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("No regression outputs found in SignatureDef: ", Describe(signature)));
  }
  if (signature.OutputIndex(kClasses) >= 0 || signature.OutputIndex(kScores) >= 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("Expected classification signature outputs to contain at least one of \"", kClasses, "\" or \"",
                   kScores, "\". Signature was: ", Describe(signature)));
}

absl::StatusOr<ExampleResults> ExampleResults::Of(ResultKind kind, const Signature& signature,
                                                  absl::Span<const Tensor> outputs, int64_t examples) {
  ExampleResults results;
  results.kind = kind;
  results.examples = examples;
  if (kind == ResultKind::kRegress) {
    results.values = Find(signature, outputs, kOutputs);
    const Shape& shape = results.values->shape();
    if (shape.size() != 1 && !(shape.size() == 2 && shape[1] == 1)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got ", ShapeString(shape)));
    }
    if (shape[0] != examples) {
      return absl::InvalidArgumentError(
          absl::StrCat("Input batch size did not match output batch size: ", examples, " vs. ", shape[0]));
    }
    if (results.values->dtype() != DType::kFloat) {
      return absl::InvalidArgumentError(
          absl::StrCat("Expected output Tensor of DT_FLOAT.  Got: ", TfTypeName(results.values->dtype())));
    }
    return results;
  }
  results.classes = Find(signature, outputs, kClasses);
  results.scores = Find(signature, outputs, kScores);
  absl::Status status;
  if (results.classes != nullptr) {
    status = CheckMatrix(kClasses, *results.classes, DType::kString, "DT_STRING", examples);
  }
  if (status.ok() && results.scores != nullptr) {
    status = CheckMatrix(kScores, *results.scores, DType::kFloat, "DT_FLOAT", examples);
  }
  if (!status.ok()) return status;
  results.num_classes = (results.classes != nullptr ? results.classes : results.scores)->shape()[1];
  if (results.scores != nullptr && results.scores->shape()[1] != results.num_classes) {
    return absl::InvalidArgumentError(absl::StrCat("Tensors class and score should match in dim_size(1). Got ",
                                                   results.num_classes, " vs. ", results.scores->shape()[1]));
  }
  return results;
}

void AppendResultsProto(const ExampleResults& results, std::string* out) {
  WireWriter fields(out);
  if (results.kind == ResultKind::kRegress) {
    out->reserve(out->size() + static_cast<size_t>(results.examples) * FieldSize(kFloatFieldSize));
    for (int64_t i = 0; i < results.examples; ++i) {
      fields.BytesHeader(1, kFloatFieldSize);
      fields.Fixed32(1, BitsOf(FloatAt(*results.values, static_cast<uint64_t>(i))));
    }
    return;
  }
  // Classifications{Class{label, score}…}…; lengths stand in front, so each example is measured, then written.
  const auto label_of = [&](uint64_t index) {
    return results.classes == nullptr ? absl::string_view() : results.classes->StringAt(index);
  };
  const auto class_size = [&](uint64_t index) {
    return (results.classes == nullptr ? 0 : FieldSize(label_of(index).size())) +
           (results.scores == nullptr ? 0 : kFloatFieldSize);
  };
  const auto classes = static_cast<uint64_t>(results.num_classes);
  for (uint64_t row = 0; row < static_cast<uint64_t>(results.examples); ++row) {
    uint64_t size = 0;
    for (uint64_t i = row * classes; i < (row + 1) * classes; ++i) size += FieldSize(class_size(i));
    fields.BytesHeader(1, size);
    for (uint64_t i = row * classes; i < (row + 1) * classes; ++i) {
      fields.BytesHeader(1, class_size(i));
      if (results.classes != nullptr) fields.Bytes(1, label_of(i));
      if (results.scores != nullptr) fields.Fixed32(2, BitsOf(FloatAt(*results.scores, i)));
    }
  }
}

absl::StatusOr<std::string> ResultsJson(const ExampleResults& results) {
  std::string out = "{\"results\": [";
  if (results.kind == ResultKind::kRegress) {
    for (int64_t i = 0; i < results.examples; ++i) {
      if (i != 0) out.push_back(',');
      AppendJsonFloat(FloatAt(*results.values, static_cast<uint64_t>(i)), &out);
    }
    out += "]}";
    return out;
  }
  const auto classes = static_cast<uint64_t>(results.num_classes);
  for (uint64_t row = 0; row < static_cast<uint64_t>(results.examples); ++row) {
    out += row == 0 ? "[" : ",[";
    for (uint64_t i = row * classes; i < (row + 1) * classes; ++i) {
      const absl::string_view label = results.classes == nullptr ? "" : results.classes->StringAt(i);
      if (!simdjson::validate_utf8(label.data(), label.size())) {
        return absl::FailedPreconditionError(absl::StrCat("output '", kClasses,
                                                          "': got a label that is not UTF-8, "
                                                          "which JSON cannot hold; use gRPC"));
      }
      out += i == row * classes ? "[" : ",[";
      AppendJsonString(label, &out);
      out.push_back(',');
      AppendJsonFloat(results.scores == nullptr ? 0.0f : FloatAt(*results.scores, i), &out);
      out.push_back(']');
    }
    out.push_back(']');
  }
  out += "]}";
  return out;
}

}  // namespace portico
