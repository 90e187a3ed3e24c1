#include "node/frontend/tfs_examples_json.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/wire.h"
#include "codec/json_reader.h"

namespace portico {
namespace {

namespace ondemand = simdjson::ondemand;

/// Of one request; a JSON example takes at least three bytes.
constexpr size_t kMaxExamples = 1 << 20;

/// Field numbers of tensorflow.Feature's lists.
enum class ListField : uint32_t { kNone = 0, kBytes = 1, kFloat = 2, kInt64 = 3 };

/// Of a feature that is an input of that dtype.
ListField ListFor(DType dtype) {
  switch (dtype) {
    case DType::kString:
      return ListField::kBytes;
    case DType::kFloat:
    case DType::kDouble:
      return ListField::kFloat;
    default:
      return ListField::kInt64;
  }
}

absl::string_view NameOf(ListField list) {
  switch (list) {
    case ListField::kBytes:
      return "strings";
    case ListField::kFloat:
      return "numbers";
    default:
      return "whole numbers";
  }
}

absl::string_view TokenOf(ondemand::value& value) {
  const std::string_view raw = value.raw_json_token();
  return absl::StripTrailingAsciiWhitespace({raw.data(), raw.size()});
}

/// One feature's values, collected as the content of its list.
class FeatureWriter {
 public:
  /// `list` kNone: goes by the first value.
  FeatureWriter(absl::string_view name, ListField list) : name_(name), list_(list) {}

  absl::Status Add(ondemand::value value) {
    const absl::string_view token = TokenOf(value);
    if (list_ == ListField::kNone) list_ = Guess(token);
    switch (list_) {
      case ListField::kBytes:
        return AddBytes(value, token);
      case ListField::kFloat:
        return AddFloat(value, token);
      default:
        return AddInt(value, token);
    }
  }

  /// Appends the map entry {name: Feature} to an Example's Features.
  void AppendTo(std::string* features) const {
    std::string feature;
    WireWriter out(&feature);
    if (list_ == ListField::kBytes) {
      out.Bytes(static_cast<uint32_t>(list_), content_);
    } else if (list_ != ListField::kNone) {
      std::string packed;
      WireWriter(&packed).Bytes(1, content_);
      out.Bytes(static_cast<uint32_t>(list_), packed);
    }
    std::string entry;
    WireWriter fields(&entry);
    fields.Bytes(1, name_);
    fields.Bytes(2, feature);
    WireWriter(features).Bytes(1, entry);
  }

 private:
  static ListField Guess(absl::string_view token) {
    if (token.empty() || token[0] == '"' || token[0] == '{') return ListField::kBytes;
    return token.find_first_of(".eENI") == absl::string_view::npos || token[0] == 't' || token[0] == 'f'
               ? ListField::kInt64
               : ListField::kFloat;
  }

  absl::Status Wrong(absl::string_view token) const {
    return absl::InvalidArgumentError(absl::StrCat("feature '", name_, "': JSON value ", token.substr(0, 64),
                                                   " is not of expected type: want ", NameOf(list_)));
  }

  absl::Status AddBytes(ondemand::value value, absl::string_view token) {
    std::string_view text;
    if (!token.empty() && token[0] == '"') {
      RETURN_IF_JSON_ERROR(value.get_string().get(text));
      WireWriter(&content_).Bytes(1, {text.data(), text.size()});
      return absl::OkStatus();
    }
    if (token.empty() || token[0] != '{') return Wrong(token);
    ondemand::object object;
    RETURN_IF_JSON_ERROR(value.get_object().get(object));
    std::string bytes;
    int keys = 0;
    for (simdjson::simdjson_result<ondemand::field> field : object) {
      std::string_view key;
      RETURN_IF_JSON_ERROR(field.unescaped_key().get(key));
      if (key != "b64" || ++keys > 1 || field.value().get_string().get(text) != simdjson::SUCCESS ||
          !absl::Base64Unescape({text.data(), text.size()}, &bytes)) {
        return absl::InvalidArgumentError(
            absl::StrCat("feature '", name_, "': not formatted correctly for base64 data; want {\"b64\": \"...\"}"));
      }
    }
    if (keys == 0) return Wrong("{}");
    WireWriter(&content_).Bytes(1, bytes);
    return absl::OkStatus();
  }

  absl::Status AddFloat(ondemand::value value, absl::string_view token) {
    double number = 0;
    if (value.get_double().get(number) != simdjson::SUCCESS) {
      if (token == "NaN") {
        number = std::nan("");
      } else if (token == "Infinity" || token == "-Infinity") {
        number = token[0] == '-' ? -HUGE_VAL : HUGE_VAL;
      } else {
        return Wrong(token);
      }
    }
    const auto real = static_cast<float>(number);
    content_.append(reinterpret_cast<const char*>(&real), sizeof(real));
    return absl::OkStatus();
  }

  absl::Status AddInt(ondemand::value value, absl::string_view token) {
    int64_t number = 0;
    uint64_t large = 0;
    bool truth = false;
    if (value.get_bool().get(truth) == simdjson::SUCCESS) {
      number = truth ? 1 : 0;
    } else if (value.get_int64().get(number) != simdjson::SUCCESS) {
      // Beyond int64 the bits are those of uint64.
      if (value.get_uint64().get(large) != simdjson::SUCCESS) return Wrong(token);
      number = static_cast<int64_t>(large);
    }
    WireWriter(&content_).RawVarint(static_cast<uint64_t>(number));
    return absl::OkStatus();
  }

  const absl::string_view name_;
  ListField list_;
  /// Of numbers, packed; of strings, the fields.
  std::string content_;
};

/// {feature: value or list, …} as a serialised Example.
absl::StatusOr<std::string> ReadExample(ondemand::value value, const Signature& signature) {
  ondemand::object object;
  if (const simdjson::error_code error = value.get_object().get(object)) {
    if (error != simdjson::INCORRECT_TYPE) return JsonParseError(error);
    return absl::InvalidArgumentError("Example must be JSON object but got something else");
  }
  std::string features;
  for (simdjson::simdjson_result<ondemand::field> field : object) {
    std::string_view key;
    RETURN_IF_JSON_ERROR(field.unescaped_key().get(key));
    const std::string name(key);
    const int index = signature.InputIndex(name);
    FeatureWriter feature(name,
                          index < 0 ? ListField::kNone : ListFor(signature.inputs[static_cast<size_t>(index)].dtype));
    ondemand::value content;
    RETURN_IF_JSON_ERROR(field.value().get(content));
    const std::string_view token = content.raw_json_token();
    if (token.empty() || token[0] != '[') {
      RETURN_IF_ERROR(feature.Add(content));
    } else {
      ondemand::array list;
      RETURN_IF_JSON_ERROR(content.get_array().get(list));
      for (simdjson::simdjson_result<ondemand::value> element : list) {
        ondemand::value one;
        RETURN_IF_JSON_ERROR(element.get(one));
        RETURN_IF_ERROR(feature.Add(one));
      }
    }
    feature.AppendTo(&features);
  }
  std::string example;
  WireWriter(&example).Bytes(1, features);
  return example;
}

/// First walk: which keys there are, and the signature that the second walk needs.
absl::StatusOr<std::string> ReadSignatureName(ondemand::document& document) {
  ondemand::object object;
  if (const simdjson::error_code error = document.get_object().get(object)) {
    return error == simdjson::INCORRECT_TYPE ? NotAJsonObject(document) : JsonParseError(error);
  }
  std::string signature;
  bool has_signature = false, has_context = false, has_examples = false;
  for (simdjson::simdjson_result<ondemand::field> field : object) {
    std::string_view key;
    RETURN_IF_JSON_ERROR(field.unescaped_key().get(key));
    ondemand::value value;
    RETURN_IF_JSON_ERROR(field.value().get(value));
    bool* const seen = key == "signature_name" ? &has_signature
                       : key == "context"      ? &has_context
                       : key == "examples"     ? &has_examples
                                               : nullptr;
    if (seen == nullptr) continue;
    if (std::exchange(*seen, true)) return RepeatedJsonKey({key.data(), key.size()});
    if (seen != &has_signature) continue;
    std::string_view name;
    if (value.get_string().get(name) != simdjson::SUCCESS) {
      return absl::InvalidArgumentError("'signature_name' key must be a string value.");
    }
    signature.assign(name.data(), name.size());
  }
  // The end of the document, and nothing else, is out of bounds.
  if (document.current_location().error() == simdjson::SUCCESS) {
    return absl::InvalidArgumentError("JSON Parse error: got more text behind the end of the document");
  }
  if (!has_examples) return absl::InvalidArgumentError("When method is classify/regress, key 'examples' is expected");
  return signature;
}

absl::Status ReadExampleList(ondemand::value value, ExamplesJson* out) {
  ondemand::array list;
  if (value.get_array().get(list) != simdjson::SUCCESS) {
    return absl::InvalidArgumentError("'examples' key must be a list of examples.");
  }
  for (simdjson::simdjson_result<ondemand::value> element : list) {
    ondemand::value example;
    RETURN_IF_JSON_ERROR(element.get(example));
    if (out->examples.size() == kMaxExamples) {
      return absl::InvalidArgumentError(
          absl::StrCat("'examples': got over ", kMaxExamples, " examples, want at most that"));
    }
    absl::StatusOr<std::string> read = ReadExample(example, *out->signature);
    if (!read.ok()) return WithContext(absl::StrCat("example ", out->examples.size()), read.status());
    out->examples.push_back(*std::move(read));
  }
  if (out->examples.empty()) return absl::InvalidArgumentError("Input is empty.");
  return absl::OkStatus();
}

absl::StatusOr<ExamplesJson> Read(ondemand::document& document,
                                  absl::FunctionRef<const Signature*(absl::string_view)> find) {
  ASSIGN_OR_RETURN(const std::string signature, ReadSignatureName(document));
  ExamplesJson request;
  request.signature = find(signature);
  if (request.signature == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("No signature was found with the name: ", signature));
  }
  document.rewind();
  ondemand::object object;
  RETURN_IF_JSON_ERROR(document.get_object().get(object));
  for (simdjson::simdjson_result<ondemand::field> field : object) {
    std::string_view key;
    RETURN_IF_JSON_ERROR(field.unescaped_key().get(key));
    ondemand::value value;
    RETURN_IF_JSON_ERROR(field.value().get(value));
    if (key == "context") {
      absl::StatusOr<std::string> context = ReadExample(value, *request.signature);
      if (!context.ok()) return WithContext("context", context.status());
      request.context = *std::move(context);
    } else if (key == "examples") {
      RETURN_IF_ERROR(ReadExampleList(value, &request));
    }
  }
  return request;
}

}  // namespace

absl::StatusOr<ExamplesJson> ReadExamplesJson(absl::string_view body,
                                              absl::FunctionRef<const Signature*(absl::string_view)> find) {
  return ReadJsonDocument(body, [&](ondemand::document& document) { return Read(document, find); });
}

}  // namespace portico
