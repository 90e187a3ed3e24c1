#include "models/split/tensor_difference.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "Eigen/Core"

namespace portico {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Elements are read one by one with memcpy, so that they need not be aligned.
template <typename T>
double Difference(absl::string_view a, absl::string_view b) {
  double largest = 0;
  for (size_t at = 0; at + sizeof(T) <= a.size(); at += sizeof(T)) {
    T left, right;
    std::memcpy(&left, a.data() + at, sizeof(T));
    std::memcpy(&right, b.data() + at, sizeof(T));
    const double x = static_cast<double>(left);
    const double y = static_cast<double>(right);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    if (std::isnan(x) || std::isnan(y)) return kInfinity;
    largest = std::max(largest, std::abs(x - y));
  }
  return largest;
}

}  // namespace

double MaxDifference(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.shape() != b.shape() || a.bytes().size() != b.bytes().size()) return kInfinity;
  switch (a.dtype()) {
    case DType::kComplex64:
    case DType::kFloat:
      return Difference<float>(a.bytes(), b.bytes());
    case DType::kComplex128:
    case DType::kDouble:
      return Difference<double>(a.bytes(), b.bytes());
    case DType::kFloat16:
      return Difference<Eigen::half>(a.bytes(), b.bytes());
    case DType::kBfloat16:
      return Difference<Eigen::bfloat16>(a.bytes(), b.bytes());
    case DType::kBool:
    case DType::kUint8:
      return Difference<uint8_t>(a.bytes(), b.bytes());
    case DType::kInt8:
      return Difference<int8_t>(a.bytes(), b.bytes());
    case DType::kUint16:
      return Difference<uint16_t>(a.bytes(), b.bytes());
    case DType::kInt16:
      return Difference<int16_t>(a.bytes(), b.bytes());
    case DType::kUint32:
      return Difference<uint32_t>(a.bytes(), b.bytes());
    case DType::kInt32:
      return Difference<int32_t>(a.bytes(), b.bytes());
    case DType::kUint64:
      return Difference<uint64_t>(a.bytes(), b.bytes());
    case DType::kInt64:
      return Difference<int64_t>(a.bytes(), b.bytes());
    default:
      return a.bytes() == b.bytes() ? 0 : kInfinity;
  }
}

}  // namespace portico
