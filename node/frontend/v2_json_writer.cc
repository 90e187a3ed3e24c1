#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "codec/v2_dtype.h"
#include "codec/v2_tensor.h"
#include "node/frontend/json_elements.h"
#include "node/frontend/v2_json.h"
#include "node/json_text.h"

namespace portico {
namespace {

void AppendShape(const Shape& shape, std::string* out) {
  out->push_back('[');
  for (size_t d = 0; d < shape.size(); ++d) absl::StrAppend(out, d == 0 ? "" : ",", shape[d]);
  out->push_back(']');
}

absl::Status AppendHead(const std::string& name, const Tensor& tensor, bool binary, std::string* out) {
  RETURN_IF_ERROR(CheckV2Output(name, tensor.dtype()));
  out->append("{\"name\":");
  AppendJsonString(name, out);
  absl::StrAppend(out, ",\"datatype\":\"", V2TypeName(tensor.dtype()), "\",\"shape\":");
  AppendShape(tensor.shape(), out);
  if (binary) {
    absl::StrAppend(out, ",\"parameters\":{\"binary_data_size\":", V2RawSize(tensor), "}}");
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(CheckJsonOutput(name, tensor, JsonBytes::kText, "ask for it with \"binary_data\": true"));
  out->append(",\"data\":[");
  AppendJsonElements(tensor, 0, tensor.num_elements(), JsonBytes::kText, out);
  out->append("]}");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<V2InferBody> WriteV2InferJson(const V2Answer& answer, const Signature& signature,
                                             absl::Span<const int> selected, absl::Span<const bool> binary,
                                             absl::Span<const Tensor> outputs) {
  SplicedMessage body;
  std::string& out = body.bytes;
  out.append("{");
  if (!answer.id.empty()) {
    out.append("\"id\":");
    AppendJsonString(answer.id, &out);
    out.push_back(',');
  }
  out.append("\"model_name\":");
  AppendJsonString(answer.model, &out);
  absl::StrAppend(&out, ",\"model_version\":\"", answer.version, "\",\"outputs\":[");
  for (size_t i = 0; i < selected.size(); ++i) {
    const auto index = static_cast<size_t>(selected[i]);
    if (i != 0) out.push_back(',');
    RETURN_IF_ERROR(AppendHead(signature.outputs[index].name, outputs[index], binary[i], &out));
  }
  out.append("]}");
  V2InferBody written;
  written.json = out.size();
  for (size_t i = 0; i < selected.size(); ++i) {
    if (!binary[i]) continue;
    const Tensor& tensor = outputs[static_cast<size_t>(selected[i])];
    // An HTTP body is one piece: nothing is left where it is.
    if (tensor.dtype() == DType::kString) {
      AppendV2Raw(tensor, &body);
    } else {
      out.append(tensor.bytes().data(), tensor.bytes().size());
    }
  }
  written.bytes = std::move(out);
  return written;
}

}  // namespace portico
