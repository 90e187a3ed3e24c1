#include "node/frontend/v2_json.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "codec/v2_dtype.h"
#include "codec/v2_tensor.h"
#include "node/frontend/json_reader.h"

namespace portico {
namespace {

namespace ondemand = simdjson::ondemand;

/// Far above any model's.
constexpr size_t kMaxNames = 1024;
constexpr size_t kMaxRank = 254;

absl::Status Wrong(absl::string_view what, absl::string_view want) {
  return absl::InvalidArgumentError(absl::StrCat(what, ": got something else, want ", want));
}

absl::Status TooMany(absl::string_view what, size_t want) {
  return absl::InvalidArgumentError(absl::StrCat(what, ": got over ", want, ", want at most that"));
}

/// An input as far as it is read. Stays where it is: a builder refers to its spec.
struct Input {
  TensorSpec spec;
  Shape shape;
  bool has_name = false, has_datatype = false, has_shape = false, has_data = false;
  V2TensorParameters parameters;
  /// From `data`; invalid until it is read.
  Tensor tensor;

  std::string Label() const { return absl::StrCat("input '", spec.name, "'"); }
};

absl::Status ReadText(absl::string_view what, ondemand::value value, std::string* out) {
  std::string_view text;
  if (value.get_string().get(text) != simdjson::SUCCESS) return Wrong(what, "a string");
  out->assign(text.data(), text.size());
  return absl::OkStatus();
}

/// Calls `each(key, value)` for every field of the object at `value`.
template <typename Each>
absl::Status ReadObject(absl::string_view what, ondemand::value value, Each each) {
  ondemand::object object;
  if (value.get_object().get(object) != simdjson::SUCCESS) return Wrong(what, "an object");
  for (simdjson::simdjson_result<ondemand::field> field : object) {
    std::string_view key;
    RETURN_IF_JSON_ERROR(field.unescaped_key().get(key));
    ondemand::value inner;
    RETURN_IF_JSON_ERROR(field.value().get(inner));
    RETURN_IF_ERROR(each(absl::string_view(key.data(), key.size()), inner));
  }
  return absl::OkStatus();
}

/// Calls `each(index, value)` for every element of the list at `value`, at most `kMaxNames`.
template <typename Each>
absl::Status ReadList(absl::string_view what, ondemand::value value, Each each) {
  ondemand::array list;
  if (value.get_array().get(list) != simdjson::SUCCESS) return Wrong(what, "a list");
  size_t index = 0;
  for (simdjson::simdjson_result<ondemand::value> element : list) {
    if (index == kMaxNames) return TooMany(what, kMaxNames);
    ondemand::value inner;
    RETURN_IF_JSON_ERROR(element.get(inner));
    RETURN_IF_ERROR(each(index++, inner));
  }
  return absl::OkStatus();
}

/// Calls `each(key, value)` for every field of a body that is an object.
template <typename Each>
absl::Status ReadBody(absl::string_view body, Each each) {
  return ReadJsonDocument(body, [&](ondemand::document& document) -> absl::Status {
    ondemand::value whole;
    RETURN_IF_JSON_ERROR(document.get_value().get(whole));
    return ReadObject("JSON body", whole, each);
  });
}

absl::StatusOr<V2Value> ReadParameterValue(ondemand::value value) {
  ondemand::json_type type;
  RETURN_IF_JSON_ERROR(value.type().get(type));
  switch (type) {
    case ondemand::json_type::boolean: {
      bool truth = false;
      RETURN_IF_JSON_ERROR(value.get_bool().get(truth));
      return truth;
    }
    case ondemand::json_type::string: {
      std::string_view text;
      RETURN_IF_JSON_ERROR(value.get_string().get(text));
      return absl::string_view(text.data(), text.size());
    }
    case ondemand::json_type::number: {
      int64_t number = 0;
      if (value.get_int64().get(number) == simdjson::SUCCESS) return number;
      uint64_t large = 0;
      if (value.get_uint64().get(large) == simdjson::SUCCESS) return large;
      double real = 0;
      RETURN_IF_JSON_ERROR(value.get_double().get(real));
      return real;
    }
    default:
      return V2Value();  // null, and what no parameter that is known takes
  }
}

template <typename Parameters>
absl::Status ReadParameters(absl::string_view what, ondemand::value value, Parameters* parameters) {
  size_t count = 0;
  return ReadObject(what, value, [&](absl::string_view key, ondemand::value inner) -> absl::Status {
    if (++count > kMaxNames) return TooMany(what, kMaxNames);
    ASSIGN_OR_RETURN(const V2Value parameter, ReadParameterValue(inner));
    return parameters->Set(key, parameter);
  });
}

absl::Status ReadShape(ondemand::value value, Input* input) {
  ondemand::array list;
  if (value.get_array().get(list) != simdjson::SUCCESS) return Wrong("'shape' of an input", "a list of extents");
  for (simdjson::simdjson_result<ondemand::value> element : list) {
    int64_t extent = 0;
    if (element.get_int64().get(extent) != simdjson::SUCCESS || extent < 0) {
      return Wrong("'shape' of an input", "extents that are not negative");
    }
    if (input->shape.size() == kMaxRank) return TooMany("'shape' of an input", kMaxRank);
    input->shape.push_back(extent);
  }
  return absl::OkStatus();
}

absl::Status ReadData(ondemand::value value, Input* input) {
  JsonTensorBuilder builder(input->spec);
  RETURN_IF_ERROR(ReadJsonTensor(value, 0, &builder));
  ASSIGN_OR_RETURN(input->tensor, builder.Finish());
  return absl::OkStatus();
}

absl::Status ReadInput(ondemand::value value, Input* input) {
  // The tensor's shape is what `shape` says; the nesting of `data` only has to be even.
  input->spec.has_rank = false;
  return ReadObject("an input", value, [&](absl::string_view key, ondemand::value inner) -> absl::Status {
    if (key == "name") {
      if (std::exchange(input->has_name, true)) return RepeatedJsonKey(key);
      return ReadText("'name' of an input", inner, &input->spec.name);
    }
    if (key == "datatype") {
      if (std::exchange(input->has_datatype, true)) return RepeatedJsonKey(key);
      std::string datatype;
      RETURN_IF_ERROR(ReadText("'datatype' of an input", inner, &datatype));
      ASSIGN_OR_RETURN(input->spec.dtype, DTypeFromV2(datatype));
      return absl::OkStatus();
    }
    if (key == "shape") {
      if (std::exchange(input->has_shape, true)) return RepeatedJsonKey(key);
      return ReadShape(inner, input);
    }
    if (key == "parameters") return ReadParameters("'parameters' of an input", inner, &input->parameters);
    if (key != "data") return absl::OkStatus();
    if (std::exchange(input->has_data, true)) return RepeatedJsonKey(key);
    // In front of the datatype: read once that is known.
    return input->has_datatype ? ReadData(inner, input) : absl::OkStatus();
  });
}

absl::Status ReadOutput(ondemand::value value, V2InferJson::Output* output) {
  bool has_name = false;
  RETURN_IF_ERROR(ReadObject("an output", value, [&](absl::string_view key, ondemand::value inner) -> absl::Status {
    if (key == "name") {
      if (std::exchange(has_name, true)) return RepeatedJsonKey(key);
      return ReadText("'name' of an output", inner, &output->name);
    }
    if (key == "parameters") return ReadParameters("'parameters' of an output", inner, &output->parameters);
    return absl::OkStatus();
  }));
  return has_name ? absl::OkStatus() : Wrong("'name' of an output", "a string");
}

/// The second walk, for `data` that came in front of its datatype.
absl::Status ReadLateData(ondemand::document& document, std::deque<Input>* inputs) {
  document.rewind();
  ondemand::value list;
  RETURN_IF_JSON_ERROR(document.find_field("inputs").get(list));
  return ReadList("'inputs'", list, [&](size_t index, ondemand::value value) -> absl::Status {
    Input& input = (*inputs)[index];
    if (!input.has_data || input.tensor.valid()) return absl::OkStatus();
    ondemand::value data;
    RETURN_IF_JSON_ERROR(value.find_field("data").get(data));
    return ReadData(data, &input);
  });
}

absl::Status Read(ondemand::document& document, std::deque<Input>* inputs, V2InferJson* request) {
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
      RETURN_IF_ERROR(ReadText("'id'", value, &request->id));
    } else if (key == "parameters") {
      if (std::exchange(has_parameters, true)) return RepeatedJsonKey(key);
      RETURN_IF_ERROR(ReadParameters("'parameters'", value, &request->parameters));
    } else if (key == "inputs") {
      if (std::exchange(has_inputs, true)) return RepeatedJsonKey(key);
      RETURN_IF_ERROR(ReadList(
          "'inputs'", value, [&](size_t, ondemand::value inner) { return ReadInput(inner, &inputs->emplace_back()); }));
    } else if (key == "outputs") {
      if (std::exchange(has_outputs, true)) return RepeatedJsonKey(key);
      RETURN_IF_ERROR(ReadList("'outputs'", value, [&](size_t, ondemand::value inner) {
        return ReadOutput(inner, &request->outputs.emplace_back());
      }));
    }
  }
  // The end of the document, and nothing else, is out of bounds.
  if (document.current_location().error() == simdjson::SUCCESS) {
    return absl::InvalidArgumentError("JSON Parse error: got more text behind the end of the document");
  }
  if (!has_inputs) return absl::InvalidArgumentError("JSON body: got no 'inputs', want a list of them");
  for (const Input& input : *inputs) {
    if (!input.has_name) return Wrong("'name' of an input", "a string");
    if (!input.has_datatype) return Wrong(absl::StrCat("'datatype' of ", input.Label()), "one such as FP32");
    if (!input.has_shape) return Wrong(absl::StrCat("'shape' of ", input.Label()), "a list of extents");
  }
  const bool late = std::any_of(inputs->begin(), inputs->end(),
                                [](const Input& input) { return input.has_data && !input.tensor.valid(); });
  return late ? ReadLateData(document, inputs) : absl::OkStatus();
}

/// The tensor of an input that is read, from `data` or from the front of `binary`.
absl::StatusOr<Tensor> TensorOf(Input* input, absl::string_view* binary, uint64_t max_bytes) {
  const std::optional<uint64_t>& size = input->parameters.binary_data_size;
  if (size.has_value() == input->has_data) {
    return absl::InvalidArgumentError(absl::StrCat(input->Label(), ": got ", input->has_data ? "both" : "neither",
                                                   " of 'data' and 'binary_data_size', want one of them"));
  }
  if (input->has_data) {
    absl::StatusOr<Tensor> shaped = input->tensor.Reshaped(input->shape);
    if (!shaped.ok()) return WithContext(input->Label(), shaped.status());
    return shaped;
  }
  if (*size > binary->size()) {
    return absl::InvalidArgumentError(absl::StrCat(input->Label(), ": got ", binary->size(),
                                                   " bytes of binary data, want ", *size,
                                                   "; is header Inference-Header-Content-Length right?"));
  }
  const absl::string_view raw = binary->substr(0, *size);
  binary->remove_prefix(*size);
  ASSIGN_OR_RETURN(const Tensor view,
                   ReadV2Raw({input->spec.name, input->spec.dtype, input->shape}, raw, nullptr, max_bytes));
  if (view.dtype() == DType::kString) return view;  // a copy already
  return Tensor::CopyOf(view.dtype(), view.shape(), view.bytes());
}

}  // namespace

absl::StatusOr<V2InferJson> ReadV2InferJson(absl::string_view json, absl::string_view binary, uint64_t max_bytes) {
  V2InferJson request;
  std::deque<Input> inputs;
  RETURN_IF_ERROR(
      ReadJsonDocument(json, [&](ondemand::document& document) { return Read(document, &inputs, &request); }));
  request.inputs.reserve(inputs.size());
  for (Input& input : inputs) {
    ASSIGN_OR_RETURN(Tensor tensor, TensorOf(&input, &binary, max_bytes));
    max_bytes -= std::min<uint64_t>(max_bytes, tensor.bytes().size());
    request.inputs.push_back({std::move(input.spec.name), std::move(tensor)});
  }
  if (!binary.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("binary data: got ", binary.size(),
                                                   " bytes that belong to no input, want 'binary_data_size' to say "
                                                   "whose they are"));
  }
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
  RETURN_IF_ERROR(ReadBody(body, [&](absl::string_view key, ondemand::value value) -> absl::Status {
    if (key == "ready" && value.get_bool().get(ready) != simdjson::SUCCESS) return Wrong("'ready'", "true or false");
    return absl::OkStatus();
  }));
  return ready;
}

absl::Status CheckV2LoadJson(absl::string_view body) {
  if (body.empty()) return absl::OkStatus();
  return ReadBody(body, [](absl::string_view key, ondemand::value value) -> absl::Status {
    if (key != "parameters") return absl::OkStatus();
    return ReadObject("'parameters'", value,
                      [](absl::string_view name, ondemand::value) { return CheckV2LoadParameter(name); });
  });
}

}  // namespace portico
