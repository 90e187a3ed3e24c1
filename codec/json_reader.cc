#include "codec/json_reader.h"

#include <charconv>
#include <cmath>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "codec/tf_dtype.h"

namespace portico {
namespace {

namespace ondemand = simdjson::ondemand;

/// The token at `value`, which is not consumed.
template <typename Value>
absl::string_view Token(Value& value) {
  const std::string_view raw = simdjson::simdjson_result<std::string_view>(value.raw_json_token()).value_unsafe();
  return absl::StripTrailingAsciiWhitespace({raw.data(), raw.size()});
}

absl::Status WrongType(ondemand::value& value, const JsonTensorBuilder& wanted) {
  return absl::InvalidArgumentError(absl::StrCat("JSON value of '", wanted.name(), "': ", Token(value).substr(0, 64),
                                                 " is not of expected type: ", TfTypeName(wanted.dtype())));
}

/// What simdjson refuses but the API takes: NaN and the infinities. Left unconsumed: the list that holds it skips it as
/// a token.
bool ReadSpecialReal(absl::string_view token, double* real) {
  if (token == "NaN") {
    *real = std::nan("");
    return true;
  }
  if (token != "Infinity" && token != "-Infinity") return false;
  *real = token[0] == '-' ? -HUGE_VAL : HUGE_VAL;
  return true;
}

/// Why `value` is no real number; it may be one that no double holds.
absl::Status NoReal(ondemand::value& value, const JsonTensorBuilder& wanted) {
  const absl::string_view token = Token(value);
  double ignored = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), ignored);
  const bool number = error == std::errc::result_out_of_range && end == token.data() + token.size();
  if (!number) return WrongType(value, wanted);
  constexpr size_t kShown = 64;
  return absl::InvalidArgumentError(
      absl::StrCat("JSON value of '", wanted.name(), "': got ", token.substr(0, kShown),
                   token.size() > kShown ? absl::StrCat("… (", token.size(), " characters)") : "",
                   ", want a number that a double holds; Infinity and -Infinity stand for themselves"));
}

/// {"b64": "..."}.
absl::Status ReadBase64(ondemand::value value, JsonTensorBuilder* out) {
  ondemand::object object;
  RETURN_IF_JSON_ERROR(value.get_object().get(object));
  int keys = 0;
  std::string text;
  for (simdjson::simdjson_result<ondemand::field> field : object) {
    std::string_view key, encoded;
    RETURN_IF_JSON_ERROR(field.unescaped_key().get(key));
    if (key != "b64" || ++keys > 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("JSON value of '", out->name(), "': Expecting value/list but got object"));
    }
    if (field.value().get_string().get(encoded) != simdjson::SUCCESS ||
        !absl::Base64Unescape({encoded.data(), encoded.size()}, &text)) {
      return absl::InvalidArgumentError(
          absl::StrCat("JSON value of '", out->name(), "': got a 'b64' that is not base64"));
    }
  }
  if (keys == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("JSON value of '", out->name(), "': got an empty object, want a value"));
  }
  out->AppendString(text);
  return absl::OkStatus();
}

absl::Status ReadElement(ondemand::value& value, JsonTensorBuilder* out) {
  switch (JsonKindOf(out->dtype())) {
    case JsonKind::kSigned: {
      int64_t number = 0;
      if (value.get_int64().get(number) != simdjson::SUCCESS) return WrongType(value, *out);
      if (out->AppendSigned(number)) return absl::OkStatus();
      break;
    }
    case JsonKind::kUnsigned: {
      uint64_t number = 0;
      if (value.get_uint64().get(number) != simdjson::SUCCESS) return WrongType(value, *out);
      if (out->AppendUnsigned(number)) return absl::OkStatus();
      break;
    }
    case JsonKind::kReal: {
      double real = 0;
      if (value.get_double().get(real) != simdjson::SUCCESS && !ReadSpecialReal(Token(value), &real)) {
        return NoReal(value, *out);
      }
      out->AppendReal(real);
      return absl::OkStatus();
    }
    case JsonKind::kBool: {
      bool truth = false;
      if (value.get_bool().get(truth) != simdjson::SUCCESS) return WrongType(value, *out);
      out->AppendBool(truth);
      return absl::OkStatus();
    }
    default: {
      const absl::string_view token = Token(value);
      if (token.empty() || token[0] != '"') return WrongType(value, *out);
      std::string_view text;
      RETURN_IF_JSON_ERROR(value.get_string().get(text));
      out->AppendString({text.data(), text.size()});
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("JSON value of '", out->name(),
                   "': got a number out of range; it is not of expected type: ", TfTypeName(out->dtype())));
}

}  // namespace

absl::Status JsonParseError(simdjson::error_code error) {
  if (error == simdjson::EMPTY) return absl::InvalidArgumentError("JSON Parse error: The document is empty");
  return absl::InvalidArgumentError(absl::StrCat("JSON Parse error: ", simdjson::error_message(error)));
}

absl::Status NotAJsonObject(ondemand::document& document) {
  // Only the first character tells the type: a scalar must be read to know that it is one.
  bool valid = false;
  document.rewind();
  ondemand::json_type type;
  if (document.type().get(type) == simdjson::SUCCESS) {
    std::string_view text;
    double number = 0;
    bool truth = false;
    switch (type) {
      case ondemand::json_type::string:
        valid = document.get_string().get(text) == simdjson::SUCCESS;
        break;
      case ondemand::json_type::number:
        valid = document.get_double().get(number) == simdjson::SUCCESS;
        break;
      case ondemand::json_type::boolean:
        valid = document.get_bool().get(truth) == simdjson::SUCCESS;
        break;
      case ondemand::json_type::null:
        valid = Token(document) == "null";
        break;
      default:
        valid = true;
    }
  }
  if (!valid) return absl::InvalidArgumentError("JSON Parse error: Invalid value. at offset: 0");
  return absl::InvalidArgumentError("JSON Value: Is not object; want an object");
}

absl::Status RepeatedJsonKey(absl::string_view key) {
  return absl::InvalidArgumentError(absl::StrCat("JSON Parse error: got key '", key, "' twice, want each once"));
}

namespace {

absl::Status ReadElements(ondemand::array list, size_t depth, JsonTensorBuilder* out, int64_t* length) {
  for (simdjson::simdjson_result<ondemand::value> element : list) {
    ondemand::value inner;
    RETURN_IF_JSON_ERROR(element.get(inner));
    RETURN_IF_ERROR(ReadJsonTensor(inner, depth, out));
    ++*length;
  }
  return absl::OkStatus();
}

/// The same for a list that begins with a number, of dtype T: straight into memory, piece by piece. What is no plain
/// number goes the general way.
template <typename T, typename Get>
absl::Status ReadRun(ondemand::array list, size_t depth, JsonTensorBuilder* out, int64_t* length, Get get) {
  constexpr size_t kPiece = 512;
  T piece[kPiece];
  size_t used = 0;
  RETURN_IF_ERROR(out->BeginElement(depth));
  ondemand::value inner;
  const auto append = [&] {
    out->AppendRun({reinterpret_cast<const char*>(piece), used * sizeof(T)}, inner.raw_json_token().data());
    used = 0;
  };
  for (simdjson::simdjson_result<ondemand::value> element : list) {
    RETURN_IF_JSON_ERROR(element.get(inner));
    ++*length;
    if (get(inner, &piece[used])) {
      if (++used < kPiece) continue;
      append();
      continue;
    }
    append();
    RETURN_IF_ERROR(ReadJsonTensor(inner, depth, out));
  }
  if (used > 0) append();
  return absl::OkStatus();
}

template <typename T>
bool GetReal(ondemand::value& value, T* to) {
  double real = 0;
  if (value.get_double().get(real) != simdjson::SUCCESS) return false;
  *to = static_cast<T>(real);
  return true;
}

template <typename T>
bool GetSigned(ondemand::value& value, T* to) {
  int64_t number = 0;
  if (value.get_int64().get(number) != simdjson::SUCCESS) return false;
  *to = static_cast<T>(number);
  return *to == number;
}

bool IsNumber(char first) { return first == '-' || (first >= '0' && first <= '9'); }

absl::Status ReadList(ondemand::array list, char first, size_t depth, JsonTensorBuilder* out, int64_t* length) {
  if (!IsNumber(first)) return ReadElements(list, depth, out, length);
  switch (out->dtype()) {
    case DType::kFloat:
      return ReadRun<float>(list, depth, out, length, GetReal<float>);
    case DType::kDouble:
      return ReadRun<double>(list, depth, out, length, GetReal<double>);
    case DType::kInt32:
      return ReadRun<int32_t>(list, depth, out, length, GetSigned<int32_t>);
    case DType::kInt64:
      return ReadRun<int64_t>(list, depth, out, length, GetSigned<int64_t>);
    default:
      return ReadElements(list, depth, out, length);
  }
}

}  // namespace

const char* SkipJsonSpace(const char* text) {
  while (*text == ' ' || *text == '\n' || *text == '\t' || *text == '\r') ++text;
  return text;
}

bool IsNamedJson(const char* text) { return *text == '{' && !absl::StartsWith(SkipJsonSpace(text + 1), "\"b64\""); }

// Recursion is as deep as the builder lets lists nest.
absl::Status ReadJsonTensor(ondemand::value value, size_t depth, JsonTensorBuilder* out) {
  const std::string_view token = value.raw_json_token();
  const char first = token.empty() ? '\0' : token[0];
  if (first != '[') {
    RETURN_IF_ERROR(out->BeginElement(depth));
    if (first != '{') return ReadElement(value, out);
    if (out->dtype() == DType::kString) return ReadBase64(value, out);
    return absl::InvalidArgumentError(
        absl::StrCat("JSON value of '", out->name(), "': Expecting value/list but got object"));
  }
  RETURN_IF_ERROR(out->BeginList(depth));
  ondemand::array list;
  RETURN_IF_JSON_ERROR(value.get_array().get(list));
  int64_t length = 0;
  RETURN_IF_ERROR(ReadList(list, *SkipJsonSpace(token.data() + 1), depth + 1, out, &length));
  return out->EndList(depth, length);
}

}  // namespace portico
