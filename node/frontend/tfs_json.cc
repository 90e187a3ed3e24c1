#include "node/frontend/tfs_json.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "codec/json_reader.h"
#include "node/order_inputs.h"

namespace portico {
namespace {

namespace ondemand = simdjson::ondemand;

/// What the first walk over a body finds out, before it is known what the tensors are.
struct Outline {
  std::string signature;
  bool instances = false;
  bool inputs = false;
  /// Tensors have names: the value (or the first instance) is an object other than {"b64": …}.
  bool named = false;
};

/// Whether `value` is an object of named tensors.
absl::StatusOr<bool> IsNamed(ondemand::value value) {
  const std::string_view token = value.raw_json_token();
  if (token.empty() || token[0] != '{') return false;
  ondemand::object object;
  RETURN_IF_JSON_ERROR(value.get_object().get(object));
  for (simdjson::simdjson_result<ondemand::field> field : object) {
    std::string_view key;
    RETURN_IF_JSON_ERROR(field.unescaped_key().get(key));
    return key != "b64";
  }
  return true;
}

absl::Status OutlineField(absl::string_view key, ondemand::value value, Outline* outline) {
  if (key == "signature_name") {
    std::string_view name;
    if (value.get_string().get(name) != simdjson::SUCCESS) {
      return absl::InvalidArgumentError("'signature_name': got something else, want a string");
    }
    if (!outline->signature.empty()) return RepeatedJsonKey(key);
    outline->signature.assign(name.data(), name.size());
  } else if (key == "inputs") {
    if (std::exchange(outline->inputs, true)) return RepeatedJsonKey(key);
    ASSIGN_OR_RETURN(outline->named, IsNamed(value));
  } else if (key == "instances") {
    if (std::exchange(outline->instances, true)) return RepeatedJsonKey(key);
    ondemand::array list;
    if (value.get_array().get(list) != simdjson::SUCCESS) {
      return absl::InvalidArgumentError("'instances': got something else, want a list");
    }
    for (simdjson::simdjson_result<ondemand::value> element : list) {
      ondemand::value first;
      RETURN_IF_JSON_ERROR(element.get(first));
      ASSIGN_OR_RETURN(outline->named, IsNamed(first));
      break;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Outline> ReadOutline(ondemand::document& document) {
  ondemand::object object;
  if (const simdjson::error_code error = document.get_object().get(object)) {
    return error == simdjson::INCORRECT_TYPE ? NotAJsonObject(document) : JsonParseError(error);
  }
  Outline outline;
  for (simdjson::simdjson_result<ondemand::field> field : object) {
    std::string_view key;
    RETURN_IF_JSON_ERROR(field.unescaped_key().get(key));
    ondemand::value value;
    RETURN_IF_JSON_ERROR(field.value().get(value));
    RETURN_IF_ERROR(OutlineField({key.data(), key.size()}, value, &outline));
  }
  // The end of the document, and nothing else, is out of bounds.
  if (document.current_location().error() == simdjson::SUCCESS) {
    return absl::InvalidArgumentError("JSON Parse error: got more text behind the end of the document");
  }
  if (outline.instances == outline.inputs) {
    return absl::InvalidArgumentError(absl::StrCat("JSON body: Not formatted correctly: got ",
                                                   outline.inputs ? "both" : "neither",
                                                   " of 'instances' and 'inputs', want one of them"));
  }
  return outline;
}

Shape DeclaredShape(const TensorSpec& spec) {
  Shape shape;
  for (const Dim& dim : spec.dims) shape.push_back(dim.extent);
  return shape;
}

/// Builders of all inputs of a signature.
class InputBuilders {
 public:
  /// `text_end` as JsonTensorBuilder's.
  InputBuilders(const Signature& signature, const char* text_end) : signature_(signature) {
    builders_.reserve(signature.inputs.size());
    for (const TensorSpec& spec : signature.inputs) {
      builders_.emplace_back(spec.name, spec.dtype, DeclaredShape(spec), text_end);
    }
  }

  absl::Status Check() const {
    for (const TensorSpec& spec : signature_.inputs) {
      if (JsonKindOf(spec.dtype) != JsonKind::kUnsupported) continue;
      return absl::UnimplementedError(absl::StrCat("input '", spec.name, "': want ", DTypeName(spec.dtype),
                                                   ", which JSON has no form for; use gRPC"));
    }
    return absl::OkStatus();
  }

  /// The builder of the only input, for values without a name.
  absl::StatusOr<JsonTensorBuilder*> Only() {
    if (builders_.size() == 1) return &builders_[0];
    return absl::InvalidArgumentError(absl::StrCat("JSON body: got a plain value or list, want an object with the ",
                                                   builders_.size(), " inputs of signature '", signature_.name, "'"));
  }

  /// An object whose keys are the signature's inputs, each once; their values at `depth` of their tensors.
  absl::Status ReadNamed(ondemand::value value, size_t depth) {
    ondemand::object object;
    RETURN_IF_JSON_ERROR(value.get_object().get(object));
    absl::InlinedVector<bool, 8> seen(builders_.size());
    std::vector<NamedTensor> unknown;
    for (simdjson::simdjson_result<ondemand::field> field : object) {
      std::string_view key;
      RETURN_IF_JSON_ERROR(field.unescaped_key().get(key));
      const absl::string_view name(key.data(), key.size());
      const int index = signature_.InputIndex(name);
      if (index < 0) {
        // Enough for the message.
        if (unknown.size() < 64) unknown.push_back({std::string(name), Tensor()});
        continue;
      }
      if (std::exchange(seen[static_cast<size_t>(index)], true)) return RepeatedJsonKey(name);
      ondemand::value inner;
      RETURN_IF_JSON_ERROR(field.value().get(inner));
      RETURN_IF_ERROR(ReadJsonTensor(inner, depth, &builders_[static_cast<size_t>(index)]));
    }
    if (unknown.empty() && absl::c_all_of(seen, [](bool s) { return s; })) return absl::OkStatus();
    // Names alone tell OrderInputs what is wrong; it has the words for it.
    for (size_t i = 0; i < seen.size(); ++i) {
      if (seen[i]) unknown.push_back({signature_.inputs[i].name, Tensor()});
    }
    return OrderInputs(signature_, std::move(unknown)).status();
  }

  /// Rows have been read at depth 1: `rows` of them make dim 0.
  absl::Status BeginRows() {
    for (JsonTensorBuilder& builder : builders_) RETURN_IF_ERROR(builder.BeginList(0));
    return absl::OkStatus();
  }
  absl::Status EndRows(int64_t rows) {
    for (JsonTensorBuilder& builder : builders_) RETURN_IF_ERROR(builder.EndList(0, rows));
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<Tensor>> Finish() {
    std::vector<Tensor> tensors;
    tensors.reserve(builders_.size());
    for (JsonTensorBuilder& builder : builders_) {
      ASSIGN_OR_RETURN(Tensor tensor, builder.Finish());
      tensors.push_back(std::move(tensor));
    }
    return tensors;
  }

 private:
  const Signature& signature_;
  std::vector<JsonTensorBuilder> builders_;
};

/// A list of objects, one per row.
absl::Status ReadNamedRows(ondemand::value value, InputBuilders* builders) {
  ondemand::array list;
  RETURN_IF_JSON_ERROR(value.get_array().get(list));
  RETURN_IF_ERROR(builders->BeginRows());
  int64_t rows = 0;
  for (simdjson::simdjson_result<ondemand::value> element : list) {
    ondemand::value row;
    RETURN_IF_JSON_ERROR(element.get(row));
    const std::string_view token = row.raw_json_token();
    if (token.empty() || token[0] != '{') {
      return absl::InvalidArgumentError(absl::StrCat("instance ", rows, ": Expecting object but got ",
                                                     !token.empty() && token[0] == '[' ? "list" : "value"));
    }
    if (absl::Status status = builders->ReadNamed(row, 1); !status.ok()) {
      return WithContext(absl::StrCat("instance ", rows), status);
    }
    ++rows;
  }
  return builders->EndRows(rows);
}

absl::StatusOr<std::vector<Tensor>> ReadTensors(const Signature& signature, bool named, bool rows,
                                                ondemand::value value, const char* text_end) {
  InputBuilders builders(signature, text_end);
  RETURN_IF_ERROR(builders.Check());
  if (!named) {
    ASSIGN_OR_RETURN(JsonTensorBuilder* const only, builders.Only());
    RETURN_IF_ERROR(ReadJsonTensor(value, 0, only));
  } else if (rows) {
    RETURN_IF_ERROR(ReadNamedRows(value, &builders));
  } else {
    RETURN_IF_ERROR(builders.ReadNamed(value, 0));
  }
  return builders.Finish();
}

using FindSignature = absl::FunctionRef<const Signature*(absl::string_view)>;

/// Two walks: the first learns what is there, so that whatever is wrong gets the right words.
absl::StatusOr<PredictJson> ReadCarefully(absl::string_view body, ondemand::document& document, FindSignature find) {
  ASSIGN_OR_RETURN(const Outline outline, ReadOutline(document));
  PredictJson request;
  request.row_format = outline.instances;
  request.signature = find(outline.signature);
  if (request.signature == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("Serving signature name: \"", outline.signature, "\" not found in signature def"));
  }
  document.rewind();
  ondemand::value value;
  RETURN_IF_JSON_ERROR(document.find_field(outline.instances ? "instances" : "inputs").get(value));
  ASSIGN_OR_RETURN(request.inputs,
                   ReadTensors(*request.signature, outline.named, outline.instances, value, body.end()));
  return request;
}

/// Whether the text of `inputs`, or of the first of `instances`, is an object of named tensors.
bool LooksNamed(const char* text, bool rows) {
  if (rows && *text == '[') text = SkipJsonSpace(text + 1);
  return IsNamedJson(text);
}

/// One walk, for bodies whose signature is known before their tensors. False: it takes a closer look.
bool ReadAtOnce(absl::string_view body, ondemand::document& document, FindSignature find, PredictJson* request) {
  ondemand::object object;
  if (document.get_object().get(object) != simdjson::SUCCESS) return false;
  bool name_read = false, data_read = false;
  for (simdjson::simdjson_result<ondemand::field> field : object) {
    std::string_view key, text;
    ondemand::value value;
    if (field.unescaped_key().get(key) != simdjson::SUCCESS || field.value().get(value) != simdjson::SUCCESS) {
      return false;
    }
    if (key == "signature_name") {
      // Behind the tensors it comes too late.
      if (data_read || std::exchange(name_read, true) || value.get_string().get(text) != simdjson::SUCCESS) {
        return false;
      }
      request->signature = find({text.data(), text.size()});
    } else if (key == "instances" || key == "inputs") {
      if (std::exchange(data_read, true)) return false;
      if (!name_read) request->signature = find("");
      if (request->signature == nullptr) return false;
      request->row_format = key == "instances";
      const std::string_view token = value.raw_json_token();
      if (token.empty() || (request->row_format && token[0] != '[')) return false;
      absl::StatusOr<std::vector<Tensor>> inputs = ReadTensors(
          *request->signature, LooksNamed(token.data(), request->row_format), request->row_format, value, body.end());
      if (!inputs.ok()) return false;
      request->inputs = *std::move(inputs);
    }
  }
  // The end of the document, and nothing else, is out of bounds.
  return data_read && document.current_location().error() != simdjson::SUCCESS;
}

}  // namespace

absl::StatusOr<PredictJson> ReadPredictJson(absl::string_view body,
                                            absl::FunctionRef<const Signature*(absl::string_view)> find) {
  PredictJson request;
  ASSIGN_OR_RETURN(const bool read, ReadJsonDocument(body, [&](ondemand::document& document) -> absl::StatusOr<bool> {
                     return ReadAtOnce(body, document, find, &request);
                   }));
  if (read) return request;
  // A document that an error ended cannot be rewound.
  return ReadJsonDocument(body, [&](ondemand::document& document) { return ReadCarefully(body, document, find); });
}

}  // namespace portico
