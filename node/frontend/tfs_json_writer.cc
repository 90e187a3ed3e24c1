#include <charconv>
#include <cstdio>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/small_float.h"
#include "base/status_macros.h"
#include "node/frontend/json_tensor_builder.h"
#include "node/frontend/tfs_json.h"
#include "node/json_text.h"
#include "simdjson.h"

namespace portico {
namespace {

template <typename T>
T Load(const char* data, uint64_t index) {
  T value;
  std::memcpy(&value, data + index * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
void AppendInteger(T value, std::string* out) {
  char text[24];
  const std::to_chars_result end = std::to_chars(text, text + sizeof(text), value);
  out->append(text, static_cast<size_t>(end.ptr - text));
}

/// Six digits tell any two numbers of these types apart.
void AppendSmallFloat(float value, std::string* out) {
  char text[32];
  const int length = std::snprintf(text, sizeof(text), "%.6g", static_cast<double>(value));
  float rounded = 0;
  std::from_chars(text, text + length, rounded);
  AppendJsonFloat(value == value ? rounded : value, out);
}

/// Writes elements and rows of one output.
class OutputWriter {
 public:
  OutputWriter(const std::string& name, const Tensor& tensor)
      : name_(name), tensor_(tensor), data_(tensor.bytes().data()), base64_(absl::EndsWith(name, "_bytes")) {}

  absl::Status Check() const {
    if (JsonKindOf(tensor_.dtype()) == JsonKind::kUnsupported) {
      return absl::UnimplementedError(absl::StrCat("output '", name_, "': got ", DTypeName(tensor_.dtype()),
                                                   ", which JSON has no form for; use gRPC"));
    }
    if (tensor_.dtype() != DType::kString || base64_) return absl::OkStatus();
    const size_t table = (tensor_.num_elements() + 1) * sizeof(uint64_t);
    const absl::string_view text = tensor_.bytes().substr(table);
    if (simdjson::validate_utf8(text.data(), text.size())) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("output '", name_,
                     "': got strings that are not UTF-8, which JSON cannot hold; give it a name that ends in _bytes "
                     "to get base64, or use gRPC"));
  }

  void WriteAll(std::string* out) { WriteFrom(0, out); }
  /// REQUIRES: rank ≥ 1; called for each row in turn.
  void WriteRow(std::string* out) { WriteFrom(1, out); }

 private:
  /// The part of the tensor below `depth`, from the next element on.
  void WriteFrom(size_t depth, std::string* out) {
    const Shape& shape = tensor_.shape();
    if (depth == shape.size()) return WriteElement(next_++, out);
    out->push_back('[');
    for (int64_t i = 0; i < shape[depth]; ++i) {
      if (i != 0) out->push_back(',');
      WriteFrom(depth + 1, out);
    }
    out->push_back(']');
  }

  void WriteElement(uint64_t index, std::string* out) const {
    switch (tensor_.dtype()) {
      case DType::kFloat:
        return AppendJsonFloat(Load<float>(data_, index), out);
      case DType::kDouble:
        return AppendJsonDouble(Load<double>(data_, index), out);
      case DType::kFloat16:
        return AppendSmallFloat(FloatFromHalf(Load<uint16_t>(data_, index)), out);
      case DType::kBfloat16:
        return AppendSmallFloat(FloatFromBfloat(Load<uint16_t>(data_, index)), out);
      case DType::kInt8:
        return AppendInteger(Load<int8_t>(data_, index), out);
      case DType::kInt16:
        return AppendInteger(Load<int16_t>(data_, index), out);
      case DType::kInt32:
        return AppendInteger(Load<int32_t>(data_, index), out);
      case DType::kInt64:
        return AppendInteger(Load<int64_t>(data_, index), out);
      case DType::kUint8:
        return AppendInteger(Load<uint8_t>(data_, index), out);
      case DType::kUint16:
        return AppendInteger(Load<uint16_t>(data_, index), out);
      case DType::kUint32:
        return AppendInteger(Load<uint32_t>(data_, index), out);
      case DType::kUint64:
        return AppendInteger(Load<uint64_t>(data_, index), out);
      case DType::kBool:
        return static_cast<void>(out->append(data_[index] != 0 ? "true" : "false"));
      case DType::kUint4:
      case DType::kInt4: {
        int value = static_cast<uint8_t>(data_[index / 2]) >> (index % 2 * 4) & 0x0f;
        if (tensor_.dtype() == DType::kInt4 && value >= 8) value -= 16;
        return AppendInteger(value, out);
      }
      default:
        return WriteString(tensor_.StringAt(index), out);
    }
  }

  void WriteString(absl::string_view value, std::string* out) const {
    if (!base64_) return AppendJsonString(value, out);
    absl::StrAppend(out, "{\"b64\":\"", absl::Base64Escape(value), "\"}");
  }

  const std::string& name_;
  const Tensor& tensor_;
  const char* const data_;
  const bool base64_;
  uint64_t next_ = 0;
};

void AppendKey(absl::string_view name, bool first, std::string* out) {
  if (!first) out->push_back(',');
  AppendJsonString(name, out);
  out->push_back(':');
}

absl::Status CheckRows(const Signature& signature, absl::Span<const Tensor> outputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Shape& shape = outputs[i].shape();
    if (!shape.empty() && shape[0] == outputs[0].rows()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("inconsistent batch size: output '", signature.outputs[i].name, "' has shape ", ShapeString(shape),
                     shape.empty() ? ", want a dimension of rows" : absl::StrCat(", want ", outputs[0].rows(), " rows"),
                     "; ask in column format (\"inputs\")"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> WritePredictJson(const Signature& signature, absl::Span<const Tensor> outputs,
                                             bool row_format) {
  std::vector<OutputWriter> writers;
  writers.reserve(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    writers.emplace_back(signature.outputs[i].name, outputs[i]);
    RETURN_IF_ERROR(writers.back().Check());
  }
  if (row_format) RETURN_IF_ERROR(CheckRows(signature, outputs));
  std::string out = row_format ? "{\"predictions\": " : "{\"outputs\": ";
  if (writers.size() == 1) {
    writers[0].WriteAll(&out);
  } else if (!row_format) {
    out.push_back('{');
    for (size_t i = 0; i < writers.size(); ++i) {
      AppendKey(signature.outputs[i].name, i == 0, &out);
      writers[i].WriteAll(&out);
    }
    out.push_back('}');
  } else {
    out.push_back('[');
    const int64_t rows = outputs.empty() ? 0 : outputs[0].rows();
    for (int64_t row = 0; row < rows; ++row) {
      out.append(row == 0 ? "{" : ",{");
      for (size_t i = 0; i < writers.size(); ++i) {
        AppendKey(signature.outputs[i].name, i == 0, &out);
        writers[i].WriteRow(&out);
      }
      out.push_back('}');
    }
    out.push_back(']');
  }
  out.push_back('}');
  return out;
}

}  // namespace portico
