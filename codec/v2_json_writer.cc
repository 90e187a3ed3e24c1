#include "codec/v2_json_writer.h"

#include "absl/strings/str_cat.h"
#include "base/json_string.h"
#include "base/status_macros.h"
#include "codec/json_elements.h"
#include "codec/v2_dtype.h"
#include "codec/v2_tensor.h"

namespace portico {
namespace {

void AppendShape(const Shape& shape, std::string* out) {
  out->push_back('[');
  for (size_t d = 0; d < shape.size(); ++d) absl::StrAppend(out, d == 0 ? "" : ",", shape[d]);
  out->push_back(']');
}

}  // namespace

absl::Status AppendV2JsonTensor(absl::string_view kind, absl::string_view name, const Tensor& tensor, bool binary,
                                absl::string_view remedy, std::string* out) {
  out->append("{\"name\":");
  AppendJsonString(name, out);
  absl::StrAppend(out, ",\"datatype\":\"", V2TypeName(tensor.dtype()), "\",\"shape\":");
  AppendShape(tensor.shape(), out);
  if (binary) {
    absl::StrAppend(out, ",\"parameters\":{\"binary_data_size\":", V2RawSize(tensor), "}}");
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(CheckJsonTensor(kind, name, tensor, JsonBytes::kText, remedy));
  out->append(",\"data\":[");
  AppendJsonElements(tensor, 0, tensor.num_elements(), JsonBytes::kText, out);
  out->append("]}");
  return absl::OkStatus();
}

}  // namespace portico
