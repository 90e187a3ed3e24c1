#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace portico {

/// The value of IEEE half-precision bits.
inline double HalfToDouble(uint16_t bits) {
  const int exponent = bits >> 10 & 0x1f;
  const int fraction = bits & 0x3ff;
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == 0x1f) return fraction != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

/// The value of bfloat16 bits: the upper half of a float.
inline double Bfloat16ToDouble(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

/// The bits of a half with 3 fraction bits at most. REQUIRES: value is 0, or k/8 with 1/8 <= |value| < 2.
inline uint16_t EighthsToHalf(double value) {
  if (value == 0) return 0;
  int exponent = 0;
  const double fraction = std::frexp(std::fabs(value), &exponent);  // In [0.5, 1).
  const auto bits = static_cast<uint16_t>((exponent + 14) << 10 | static_cast<int>((fraction * 2 - 1) * 1024));
  return static_cast<uint16_t>(bits | (value < 0 ? 0x8000 : 0));
}

}  // namespace portico
