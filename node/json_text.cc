#include "node/json_text.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

#include "simdjson.h"

namespace portico {
namespace {

constexpr char kHex[] = "0123456789abcdef";

/// Lays `digits` ("d.ddd…" without the point) out as printf's %g does: an exponent below −4 or from `precision` on is
/// written as such.
void AppendDigits(absl::string_view digits, int exponent, int precision, std::string* out) {
  const auto count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= precision) {
    out->push_back(digits[0]);
    if (count > 1) out->append(".").append(digits.data() + 1, digits.size() - 1);
    out->append(exponent < 0 ? "e-" : "e+");
    const int magnitude = std::abs(exponent);
    if (magnitude >= 100) out->push_back(static_cast<char>('0' + magnitude / 100));
    out->push_back(static_cast<char>('0' + magnitude / 10 % 10));
    out->push_back(static_cast<char>('0' + magnitude % 10));
  } else if (exponent < 0) {
    out->append("0.").append(static_cast<size_t>(-exponent - 1), '0').append(digits.data(), digits.size());
  } else if (count <= exponent + 1) {
    out->append(digits.data(), digits.size()).append(static_cast<size_t>(exponent + 1 - count), '0').append(".0");
  } else {
    const auto whole = static_cast<size_t>(exponent + 1);
    out->append(digits.data(), whole).append(".").append(digits.data() + whole, digits.size() - whole);
  }
}

/// `precision`: digits that always read back as the same number.
template <typename T>
void AppendNumber(T value, int precision, std::string* out) {
  if (std::isnan(value)) {
    out->append("NaN");
    return;
  }
  if (std::signbit(value)) {
    out->push_back('-');
    value = -value;
  }
  if (std::isinf(value)) {
    out->append("Infinity");
    return;
  }
  // The shortest digits that read back as `value`. Six or fewer are also what %g prints.
  char text[32];
  const std::to_chars_result end = std::to_chars(text, text + sizeof(text), value, std::chars_format::scientific);
  char* mark = text;
  while (*mark != 'e') ++mark;
  int exponent = 0;
  std::from_chars(mark[1] == '+' ? mark + 2 : mark + 1, end.ptr, exponent);
  size_t count = static_cast<size_t>(mark - text);
  if (count > 1) {
    text[1] = text[0];  // over the point
    --count;
  }
  const absl::string_view digits(mark - count, count);
  AppendDigits(digits, exponent, count <= 6 ? 6 : precision, out);
}

}  // namespace

void AppendJsonFloat(float value, std::string* out) { AppendNumber(value, 9, out); }
void AppendJsonDouble(double value, std::string* out) { AppendNumber(value, 17, out); }

void AppendJsonString(absl::string_view text, std::string* out) {
  const bool utf8 = simdjson::validate_utf8(text.data(), text.size());
  out->push_back('"');
  size_t plain = 0;  // start of what needs no escape
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\' && (c < 0x80 || utf8)) continue;
    out->append(text.data() + plain, i - plain);
    plain = i + 1;
    switch (c) {
      case '"':
        out->append("\\\"");
        break;
      case '\\':
        out->append("\\\\");
        break;
      case '\n':
        out->append("\\n");
        break;
      case '\r':
        out->append("\\r");
        break;
      case '\t':
        out->append("\\t");
        break;
      default:
        if (c >= 0x80)
          out->push_back('?');
        else
          out->append("\\u00").append(1, kHex[c >> 4]).append(1, kHex[c & 15]);
    }
  }
  out->append(text.data() + plain, text.size() - plain);
  out->push_back('"');
}

std::string ErrorJson(absl::string_view message) {
  std::string json = "{\"error\": ";
  AppendJsonString(message, &json);
  json.push_back('}');
  return json;
}

}  // namespace portico
