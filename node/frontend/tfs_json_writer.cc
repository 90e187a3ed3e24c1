#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "codec/json_elements.h"
#include "codec/json_text.h"
#include "node/frontend/tfs_json.h"

namespace portico {
namespace {

/// Writes elements and rows of one output.
class OutputWriter {
 public:
  OutputWriter(const std::string& name, const Tensor& tensor)
      : name_(name), tensor_(tensor), bytes_(absl::EndsWith(name, "_bytes") ? JsonBytes::kBase64 : JsonBytes::kText) {}

  absl::Status Check() const {
    return CheckJsonTensor("output", name_, tensor_, bytes_,
                           "give it a name that ends in _bytes to get base64, or use gRPC");
  }

  void WriteAll(std::string* out) { AppendJsonLists(tensor_, 0, bytes_, &next_, out); }
  /// REQUIRES: rank ≥ 1; called for each row in turn.
  void WriteRow(std::string* out) { AppendJsonLists(tensor_, 1, bytes_, &next_, out); }

 private:
  const std::string& name_;
  const Tensor& tensor_;
  const JsonBytes bytes_;
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
