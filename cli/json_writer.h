#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace portico {

/// Writes one JSON value. Inside an object each call has a key, inside an array none; who calls keeps that and closes
/// what was begun. For one thread.
class JsonWriter {
 public:
  void BeginObject(absl::string_view key = {}) { Open(key, '{'); }
  void EndObject() { Close('}'); }
  void BeginArray(absl::string_view key = {}) { Open(key, '['); }
  void EndArray() { Close(']'); }
  void String(absl::string_view key, absl::string_view value);
  void Number(absl::string_view key, int64_t value);
  void Bool(absl::string_view key, bool value);
  void Strings(absl::string_view key, const std::vector<std::string>& values);
  void String(absl::string_view value);
  void Number(int64_t value);

  std::string Take() { return std::move(text_); }

 private:
  void Open(absl::string_view key, char bracket);
  void Close(char bracket);
  /// The comma in front of a value, where one is due, and its key.
  void Begin(absl::string_view key);
  void AppendQuoted(absl::string_view value);

  std::string text_;
};

}  // namespace portico
