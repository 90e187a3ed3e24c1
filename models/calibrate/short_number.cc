#include "models/calibrate/short_number.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "absl/strings/str_format.h"

namespace portico {
namespace {

constexpr int kMaxDigits = 17;

bool Fits(const NumberRange& range, double number) {
  if (!std::isfinite(number)) return false;
  if (range.is_float32) {
    if (std::abs(number) > std::numeric_limits<float>::max()) return false;
    number = static_cast<float>(number);
  }
  return range.takes_low ? range.low <= number && number < range.high : range.low < number && number <= range.high;
}

double Middle(const NumberRange& range) {
  if (std::isfinite(range.low) && std::isfinite(range.high)) return range.low + (range.high - range.low) / 2;
  if (Fits(range, 0)) return 0;
  if (std::isfinite(range.low)) return range.low + std::max(1.0, std::abs(range.low));
  return range.high - std::max(1.0, std::abs(range.high));
}

}  // namespace

std::string ShortNumber(const NumberRange& range) {
  for (const double near : {Middle(range), range.takes_low ? range.low : range.high}) {
    if (!std::isfinite(near)) continue;
    for (int digits = 1; digits <= kMaxDigits; ++digits) {
      // The expression language reads what strtod() does.
      std::string text = absl::StrFormat("%.*g", digits, near);
      if (!Fits(range, std::strtod(text.c_str(), nullptr))) continue;
      return text == "-0" ? "0" : text;
    }
  }
  // Between an infinity and the largest number.
  return absl::StrFormat("%.17g", std::isfinite(range.low) ? range.low : range.high);
}

}  // namespace portico
