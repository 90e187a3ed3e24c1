#pragma once

#include <cstdint>

namespace portico {

// float16 and bfloat16 as bits, to and from float. To bits: to nearest, ties to even; what is too large becomes
// infinity, NaN stays NaN.

float FloatFromHalf(uint16_t bits);
uint16_t HalfFromFloat(float value);
float FloatFromBfloat(uint16_t bits);
uint16_t BfloatFromFloat(float value);

}  // namespace portico
