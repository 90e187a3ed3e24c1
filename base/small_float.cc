#include "base/small_float.h"

#include <Eigen/Core>

namespace portico {

float FloatFromHalf(uint16_t bits) { return static_cast<float>(Eigen::numext::bit_cast<Eigen::half>(bits)); }
uint16_t HalfFromFloat(float value) { return Eigen::numext::bit_cast<uint16_t>(Eigen::half(value)); }
float FloatFromBfloat(uint16_t bits) { return static_cast<float>(Eigen::numext::bit_cast<Eigen::bfloat16>(bits)); }
uint16_t BfloatFromFloat(float value) { return Eigen::numext::bit_cast<uint16_t>(Eigen::bfloat16(value)); }

}  // namespace portico
