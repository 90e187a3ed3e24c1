#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "codec/json_reader.h"

/// Walks over objects and lists of JSON whose parts are read one by one. For .cc files only.

namespace portico {

/// Names in one list or object: far above any model's.
inline constexpr size_t kMaxJsonNames = 1024;

/// INVALID_ARGUMENT: `what` is of another kind than `want`.
inline absl::Status WrongJson(absl::string_view what, absl::string_view want) {
  return absl::InvalidArgumentError(absl::StrCat(what, ": got something else, want ", want));
}

inline absl::Status TooMuchJson(absl::string_view what, size_t want) {
  return absl::InvalidArgumentError(absl::StrCat(what, ": got over ", want, ", want at most that"));
}

inline absl::Status ReadJsonText(absl::string_view what, simdjson::ondemand::value value, std::string* out) {
  std::string_view text;
  if (value.get_string().get(text) != simdjson::SUCCESS) return WrongJson(what, "a string");
  out->assign(text.data(), text.size());
  return absl::OkStatus();
}

/// Calls `each(key, value)` for every field of the object at `value`.
template <typename Each>
absl::Status ReadJsonObject(absl::string_view what, simdjson::ondemand::value value, Each each) {
  simdjson::ondemand::object object;
  if (value.get_object().get(object) != simdjson::SUCCESS) return WrongJson(what, "an object");
  for (simdjson::simdjson_result<simdjson::ondemand::field> field : object) {
    std::string_view key;
    RETURN_IF_JSON_ERROR(field.unescaped_key().get(key));
    simdjson::ondemand::value inner;
    RETURN_IF_JSON_ERROR(field.value().get(inner));
    RETURN_IF_ERROR(each(absl::string_view(key.data(), key.size()), inner));
  }
  return absl::OkStatus();
}

/// Calls `each(index, value)` for every element of the list at `value`, at most kMaxJsonNames.
template <typename Each>
absl::Status ReadJsonList(absl::string_view what, simdjson::ondemand::value value, Each each) {
  simdjson::ondemand::array list;
  if (value.get_array().get(list) != simdjson::SUCCESS) return WrongJson(what, "a list");
  size_t index = 0;
  for (simdjson::simdjson_result<simdjson::ondemand::value> element : list) {
    if (index == kMaxJsonNames) return TooMuchJson(what, kMaxJsonNames);
    simdjson::ondemand::value inner;
    RETURN_IF_JSON_ERROR(element.get(inner));
    RETURN_IF_ERROR(each(index++, inner));
  }
  return absl::OkStatus();
}

/// Calls `each(key, value)` for every field of a document that is an object, and nothing behind it. REQUIRES: as
/// ReadJsonDocument.
template <typename Each>
absl::Status ReadJsonBody(absl::string_view body, Each each) {
  return ReadJsonDocument(body, [&](simdjson::ondemand::document& document) -> absl::Status {
    simdjson::ondemand::value whole;
    RETURN_IF_JSON_ERROR(document.get_value().get(whole));
    return ReadJsonObject("JSON body", whole, each);
  });
}

}  // namespace portico
