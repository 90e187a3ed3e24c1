#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "base/json_string.h"

namespace portico {

/// Room for any number that these write.
inline constexpr size_t kMaxJsonNumber = 32;

/// Writes a floating-point number as the TensorFlow Serving REST API does and returns the end: `%g` with 6 digits where
/// that reads back as the same number, else as many digits as that takes; a whole number without exponent gets ".0";
/// NaN, Infinity and -Infinity are bare tokens.
char* WriteJsonFloat(float value, char* out);
char* WriteJsonDouble(double value, char* out);
void AppendJsonFloat(float value, std::string* out);
void AppendJsonDouble(double value, std::string* out);

/// {"error": "..."}.
std::string ErrorJson(absl::string_view message);

}  // namespace portico
