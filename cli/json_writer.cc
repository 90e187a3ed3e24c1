#include "cli/json_writer.h"

#include "absl/strings/str_cat.h"

namespace portico {

void JsonWriter::String(absl::string_view key, absl::string_view value) {
  Begin(key);
  AppendQuoted(value);
}

void JsonWriter::Number(absl::string_view key, int64_t value) {
  Begin(key);
  absl::StrAppend(&text_, value);
}

void JsonWriter::Bool(absl::string_view key, bool value) {
  Begin(key);
  absl::StrAppend(&text_, value ? "true" : "false");
}

void JsonWriter::Strings(absl::string_view key, const std::vector<std::string>& values) {
  BeginArray(key);
  for (const std::string& value : values) String(value);
  EndArray();
}

void JsonWriter::String(absl::string_view value) { String({}, value); }
void JsonWriter::Number(int64_t value) { Number({}, value); }

void JsonWriter::Open(absl::string_view key, char bracket) {
  Begin(key);
  text_.push_back(bracket);
}

void JsonWriter::Close(char bracket) { text_.push_back(bracket); }

void JsonWriter::Begin(absl::string_view key) {
  if (!text_.empty() && text_.back() != '{' && text_.back() != '[') text_.push_back(',');
  if (key.empty()) return;
  AppendQuoted(key);
  text_.push_back(':');
}

void JsonWriter::AppendQuoted(absl::string_view value) {
  constexpr char kHex[] = "0123456789abcdef";
  text_.push_back('"');
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      text_.push_back('\\');
      text_.push_back(c);
    } else if (byte < 0x20) {
      absl::StrAppend(&text_, "\\u00", absl::string_view(&kHex[byte >> 4], 1), absl::string_view(&kHex[byte & 15], 1));
    } else {
      text_.push_back(c);
    }
  }
  text_.push_back('"');
}

}  // namespace portico
