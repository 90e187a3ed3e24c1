#include "node/frontend/v2_json.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "codec/json_reader.h"
#include "codec/json_walk.h"
#include "codec/v2_dtype.h"
#include "codec/v2_json_tensors.h"

namespace portico {
namespace {

namespace ondemand = simdjson::ondemand;

absl::Status ReadInputParameter(absl::string_view key, const V2Value& value, V2JsonTensor* input) {
  V2TensorParameters parameters;
  RETURN_IF_ERROR(parameters.Set(key, value));
  if (parameters.binary_data_size.has_value()) input->binary_data_size = parameters.binary_data_size;
  return absl::OkStatus();
}

absl::Status ReadOutput(ondemand::value value, V2InferJson::Output* output) {
  bool has_name = false;
  RETURN_IF_ERROR(ReadJsonObject("an output", value, [&](absl::string_view key, ondemand::value inner) -> absl::Status {
    if (key == "name") {
      if (std::exchange(has_name, true)) return RepeatedJsonKey(key);
      return ReadJsonText("'name' of an output", inner, &output->name);
    }
    if (key == "parameters")
      return ReadV2JsonParameters(
          "'parameters' of an output", inner,
          [&](absl::string_view name, const V2Value& parameter) { return output->parameters.Set(name, parameter); });
    return absl::OkStatus();
  }));
  return has_name ? absl::OkStatus() : WrongJson("'name' of an output", "a string");
}

absl::Status Read(ondemand::document& document, V2JsonTensors* inputs, V2InferJson* request) {
  ondemand::object object;
  if (const simdjson::error_code error = document.get_object().get(object)) {
    if (error != simdjson::INCORRECT_TYPE) return JsonParseError(error);
    return absl::InvalidArgumentError("JSON body: want an object with 'inputs'");
  }
  bool has_id = false, has_parameters = false, has_inputs = false, has_outputs = false;
  for (simdjson::simdjson_result<ondemand::field> field : object) {
    std::string_view key_text;
    RETURN_IF_JSON_ERROR(field.unescaped_key().get(key_text));
    const absl::string_view key(key_text.data(), key_text.size());
    ondemand::value value;
    RETURN_IF_JSON_ERROR(field.value().get(value));
    if (key == "id") {
      if (std::exchange(has_id, true)) return RepeatedJsonKey(key);
      RETURN_IF_ERROR(ReadJsonText("'id'", value, &request->id));
    } else if (key == "parameters") {
      if (std::exchange(has_parameters, true)) return RepeatedJsonKey(key);
      RETURN_IF_ERROR(ReadV2JsonParameters(
          "'parameters'", value,
          [&](absl::string_view name, const V2Value& parameter) { return request->parameters.Set(name, parameter); }));
    } else if (key == "inputs") {
      if (std::exchange(has_inputs, true)) return RepeatedJsonKey(key);
      RETURN_IF_ERROR(inputs->Read(value, ReadInputParameter));
    } else if (key == "outputs") {
      if (std::exchange(has_outputs, true)) return RepeatedJsonKey(key);
      RETURN_IF_ERROR(ReadJsonList("'outputs'", value, [&](size_t, ondemand::value inner) {
        return ReadOutput(inner, &request->outputs.emplace_back());
      }));
    }
  }
  // The end of the document, and nothing else, is out of bounds.
  if (document.current_location().error() == simdjson::SUCCESS) {
    return absl::InvalidArgumentError("JSON Parse error: got more text behind the end of the document");
  }
  if (!has_inputs) return absl::InvalidArgumentError("JSON body: got no 'inputs', want a list of them");
  return inputs->ReadLate(document, "inputs");
}

}  // namespace

absl::StatusOr<V2InferJson> ReadV2InferJson(absl::string_view json, absl::string_view binary, uint64_t max_bytes) {
  V2InferJson request;
  V2JsonTensors inputs("input");
  RETURN_IF_ERROR(ReadJsonHead(json, [&](ondemand::document& document) { return Read(document, &inputs, &request); }));
  ASSIGN_OR_RETURN(request.inputs, inputs.Take(binary, nullptr, max_bytes));
  return request;
}

absl::StatusOr<Tensor> ReadV2RawBody(const Signature& signature, absl::string_view body) {
  if (signature.inputs.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("raw body: signature '", signature.name, "' has ", signature.inputs.size(), " inputs, want one"));
  }
  const TensorSpec& spec = signature.inputs[0];
  const auto refuse = [&](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("raw body of ", body.size(), " bytes for input '", spec.name, "': ", why, " ", spec.ToString()));
  };
  if (!spec.has_rank || V2TypeName(spec.dtype).empty()) return refuse("no shape can be derived for");
  Shape shape;
  int variable = -1;
  uint64_t fixed = 1;
  for (size_t d = 0; d < spec.dims.size(); ++d) {
    const int64_t extent = spec.dims[d].extent;
    shape.push_back(extent);
    if (extent >= 0) {
      fixed *= static_cast<uint64_t>(extent);
      if (fixed > uint64_t{1} << 40) return refuse("too few bytes for");
    } else if (spec.dtype == DType::kString) {
      shape.back() = 1;
    } else if (variable >= 0) {
      return refuse("more than one extent is open in");
    } else {
      variable = static_cast<int>(d);
    }
  }
  if (spec.dtype == DType::kString) {
    if (fixed != 1) return refuse("one element does not fill");
    return Tensor::OfStrings(std::move(shape), absl::Span<const absl::string_view>(&body, 1));
  }
  const uint64_t unit = BytesFor(spec.dtype, fixed);
  if (variable >= 0) {
    if (unit == 0 || body.size() % unit != 0) return refuse("the length does not fit");
    shape[static_cast<size_t>(variable)] = static_cast<int64_t>(body.size() / unit);
  } else if (body.size() != unit) {
    return refuse("the length does not fit");
  }
  return Tensor::CopyOf(spec.dtype, std::move(shape), body);
}

absl::StatusOr<bool> ReadV2IndexJson(absl::string_view body) {
  bool ready = false;
  if (body.empty()) return ready;
  RETURN_IF_ERROR(ReadJsonBody(body, [&](absl::string_view key, ondemand::value value) -> absl::Status {
    if (key == "ready" && value.get_bool().get(ready) != simdjson::SUCCESS)
      return WrongJson("'ready'", "true or false");
    return absl::OkStatus();
  }));
  return ready;
}

absl::Status CheckV2LoadJson(absl::string_view body) {
  if (body.empty()) return absl::OkStatus();
  return ReadJsonBody(body, [](absl::string_view key, ondemand::value value) -> absl::Status {
    if (key != "parameters") return absl::OkStatus();
    return ReadJsonObject("'parameters'", value,
                          [](absl::string_view name, ondemand::value) { return CheckV2LoadParameter(name); });
  });
}

}  // namespace portico
