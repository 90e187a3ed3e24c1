#include "codec/json_text.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>

namespace portico {
namespace {

char* Copy(const char* from, size_t bytes, char* to) {
  std::memcpy(to, from, bytes);
  return to + bytes;
}

/// Lays `digits` ("d.ddd…" without the point) out as printf's %g does: an exponent below −4 or from `precision` on is
/// written as such. Returns the end.
char* WriteDigits(absl::string_view digits, int exponent, int precision, char* out) {
  const auto count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= precision) {
    *out++ = digits[0];
    if (count > 1) {
      *out++ = '.';
      out = Copy(digits.data() + 1, digits.size() - 1, out);
    }
    *out++ = 'e';
    *out++ = exponent < 0 ? '-' : '+';
    const int magnitude = std::abs(exponent);
    if (magnitude >= 100) *out++ = static_cast<char>('0' + magnitude / 100);
    *out++ = static_cast<char>('0' + magnitude / 10 % 10);
    *out++ = static_cast<char>('0' + magnitude % 10);
    return out;
  }
  if (exponent < 0) {
    out = Copy("0.000", static_cast<size_t>(1 - exponent), out);
    return Copy(digits.data(), digits.size(), out);
  }
  if (count <= exponent + 1) {
    out = Copy(digits.data(), digits.size(), out);
    for (int i = count; i < exponent + 1; ++i) *out++ = '0';
    return Copy(".0", 2, out);
  }
  const auto whole = static_cast<size_t>(exponent + 1);
  out = Copy(digits.data(), whole, out);
  *out++ = '.';
  return Copy(digits.data() + whole, digits.size() - whole, out);
}

/// `precision`: digits that always read back as the same number.
template <typename T>
char* WriteNumber(T value, int precision, char* out) {
  if (std::isnan(value)) return Copy("NaN", 3, out);
  if (std::signbit(value)) {
    *out++ = '-';
    value = -value;
  }
  if (std::isinf(value)) return Copy("Infinity", 8, out);
  // The shortest digits that read back as `value`. Six or fewer are also what %g prints.
  char text[32];
  const std::to_chars_result end = std::to_chars(text, text + sizeof(text), value, std::chars_format::scientific);
  // "d.ddde±xx" with two or three digits of exponent.
  const char* mark = end.ptr - 4;
  if (*mark != 'e') --mark;
  int exponent = 0;
  for (const char* digit = mark + 2; digit < end.ptr; ++digit) exponent = exponent * 10 + (*digit - '0');
  if (mark[1] == '-') exponent = -exponent;
  size_t count = static_cast<size_t>(mark - text);
  if (count > 1) {
    text[1] = text[0];  // over the point
    --count;
  }
  return WriteDigits({mark - count, count}, exponent, count <= 6 ? 6 : precision, out);
}

}  // namespace

char* WriteJsonFloat(float value, char* out) { return WriteNumber(value, 9, out); }
char* WriteJsonDouble(double value, char* out) { return WriteNumber(value, 17, out); }

void AppendJsonFloat(float value, std::string* out) {
  char text[kMaxJsonNumber];
  out->append(text, static_cast<size_t>(WriteJsonFloat(value, text) - text));
}

void AppendJsonDouble(double value, std::string* out) {
  char text[kMaxJsonNumber];
  out->append(text, static_cast<size_t>(WriteJsonDouble(value, text) - text));
}

std::string ErrorJson(absl::string_view message) {
  std::string json = "{\"error\": ";
  AppendJsonString(message, &json);
  json.push_back('}');
  return json;
}

}  // namespace portico
