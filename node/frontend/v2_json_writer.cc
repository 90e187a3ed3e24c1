#include "codec/v2_json_writer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/json_string.h"
#include "base/status_macros.h"
#include "codec/v2_dtype.h"
#include "codec/v2_tensor.h"
#include "node/frontend/v2_json.h"

namespace portico {
namespace {

/// What portals have to say of their answers, as `parameters`; nothing for most answers.
void AppendNotes(const V2Answer& answer, std::string* out) {
  if (answer.fallbacks.empty() && answer.rows.empty()) return;
  out->append(",\"parameters\":{");
  bool first = true;
  for (const auto& [name, text] :
       {std::pair("portico_fallback", answer.fallbacks), std::pair("portico_rows", answer.rows)}) {
    if (text.empty()) continue;
    absl::StrAppend(out, std::exchange(first, false) ? "" : ",", "\"", name, "\":");
    AppendJsonString(text, out);
  }
  out->push_back('}');
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
  absl::StrAppend(&out, ",\"model_version\":\"", answer.version, "\"");
  AppendNotes(answer, &out);
  out.append(",\"outputs\":[");
  for (size_t i = 0; i < selected.size(); ++i) {
    const auto index = static_cast<size_t>(selected[i]);
    if (i != 0) out.push_back(',');
    const std::string& name = signature.outputs[index].name;
    RETURN_IF_ERROR(CheckV2Output(name, outputs[index].dtype()));
    RETURN_IF_ERROR(
        AppendV2JsonTensor("output", name, outputs[index], binary[i], "ask for it with \"binary_data\": true", &out));
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
