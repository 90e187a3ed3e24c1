#include "node/frontend/example_call.h"

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/json_string.h"
#include "base/status_macros.h"
#include "codec/v2_dtype.h"
#include "codec/v2_json_writer.h"
#include "models/runtime/row_check.h"
#include "node/frontend/tfs_json.h"

namespace portico {
namespace {

absl::Status No(absl::string_view why) { return absl::FailedPreconditionError(absl::StrCat("no example: ", why)); }

absl::Status TooMany() { return No(absl::StrCat("inputs of more than ", kMaxExampleElements, " elements")); }

/// One row of each input.
std::vector<Tensor> ExampleInputs(const Signature& signature) {
  std::vector<TensorSpec> specs = signature.inputs;
  for (TensorSpec& spec : specs) {
    for (Dim& dim : spec.dims) dim.extent = dim.extent < 0 ? 1 : dim.extent;
  }
  return GenerateInputs(specs, {}, /*seed=*/1);
}

/// {"signature_name": …, "inputs": {…}}: columns, which any shapes go into.
absl::StatusOr<std::string> TfsBody(const Signature& signature, const std::vector<Tensor>& inputs) {
  std::string body = "{";
  if (signature.name != kDefaultSignature) {
    body.append("\"signature_name\":");
    AppendJsonString(signature.name, &body);
    body.push_back(',');
  }
  body.append("\"inputs\":{");
  for (size_t i = 0; i < inputs.size(); ++i) {
    // The writer of answers has one output without its name.
    Signature one;
    one.outputs = {signature.inputs[i]};
    ASSIGN_OR_RETURN(const std::string json, WritePredictJson(one, {&inputs[i], 1}, /*row_format=*/false));
    const size_t begin = json.find(':') + 1;
    if (i != 0) body.push_back(',');
    AppendJsonString(signature.inputs[i].name, &body);
    absl::StrAppend(&body, ":", json.substr(begin, json.rfind('}') - begin));
  }
  body.append("}}");
  // Line breaks are for people.
  return absl::StrReplaceAll(body, {{"\n", ""}});
}

absl::StatusOr<std::string> V2Body(const Signature& signature, const std::vector<Tensor>& inputs) {
  std::string body = "{";
  if (signature.name != kDefaultSignature) {
    body.append("\"parameters\":{\"signature_name\":");
    AppendJsonString(signature.name, &body);
    body.append("},");
  }
  body.append("\"inputs\":[");
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::string& name = signature.inputs[i].name;
    if (i != 0) body.push_back(',');
    RETURN_IF_ERROR(AppendV2JsonTensor("input", name, inputs[i], /*binary=*/false, "", &body));
  }
  return body + "]}";
}

std::string ShellQuoted(absl::string_view text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

/// A name as a part of a URL's path.
std::string UrlPart(absl::string_view text) {
  std::string out;
  for (const char c : text) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.' || c == '~') {
      out.push_back(c);
    } else {
      absl::StrAppendFormat(&out, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace

absl::string_view RestApiName(RestApi api) { return api == RestApi::kTfs ? "tfs" : "v2"; }

std::string ExamplePath(RestApi api, absl::string_view model, int64_t version) {
  const std::string name = UrlPart(absl::StrReplaceAll(model, {{"/", "--"}}));
  if (api == RestApi::kTfs) return absl::StrCat("/v1/models/", name, "/versions/", version, ":predict");
  return absl::StrCat("/v2/models/", name, "/versions/", version, "/infer");
}

absl::StatusOr<uint64_t> ExampleElements(RestApi api, const Signature& signature) {
  uint64_t elements = 0;
  for (const TensorSpec& spec : signature.inputs) {
    const std::string input = absl::StrCat("input '", spec.name, "'");
    if (!spec.has_rank) return No(absl::StrCat("the rank of ", input, " is not known"));
    if (spec.axis == AxisKind::kRagged) return No(absl::StrCat(input, " is ragged"));
    if (spec.dtype == DType::kInvalid) return No(absl::StrCat("the dtype of ", input, " is not known"));
    if (api == RestApi::kV2 &&
        (V2TypeName(spec.dtype).empty() || spec.dtype == DType::kFloat16 || spec.dtype == DType::kBfloat16)) {
      return No(absl::StrCat(input, " is ", DTypeName(spec.dtype), ", for which this API has no JSON"));
    }
    uint64_t own = 1;
    for (const Dim& dim : spec.dims) {
      const auto extent = static_cast<uint64_t>(dim.extent < 0 ? 1 : dim.extent);
      // Also where a later extent is 0: shapes of such a size are nobody's example.
      if (extent != 0 && own > kMaxExampleElements / extent) return TooMany();
      own *= extent;
    }
    elements += own;
    if (elements > kMaxExampleElements) return TooMany();
  }
  return elements;
}

absl::StatusOr<std::string> ExampleBody(RestApi api, const Signature& signature) {
  RETURN_IF_ERROR(ExampleElements(api, signature).status());
  const std::vector<Tensor> inputs = ExampleInputs(signature);
  return api == RestApi::kTfs ? TfsBody(signature, inputs) : V2Body(signature, inputs);
}

std::string CurlCommand(absl::string_view url, absl::string_view body, absl::string_view body_url, bool with_token) {
  const absl::string_view token = with_token ? " -H \"Authorization: Bearer $PORTICO_TOKEN\"" : "";
  constexpr absl::string_view kType = " -H 'Content-Type: application/json'";
  if (!body.empty()) {
    return absl::StrCat("curl -s ", ShellQuoted(url), token, kType, " -d ", ShellQuoted(body));
  }
  return absl::StrCat("curl -s ", ShellQuoted(body_url), token, " | curl -s ", ShellQuoted(url), token, kType,
                      " --data-binary @-");
}

}  // namespace portico
