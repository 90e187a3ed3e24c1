#include "tests/integration/tensor_difference.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

/// |got − want| ≤ absolute · largest magnitude (at least 1) + relative · |want|; 0: equal bytes.
struct Allowance {
  double relative = 0;
  double absolute = 0;
};

Allowance AllowanceOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat:
    case DType::kDouble:
      return {.relative = 1e-3, .absolute = 2e-6};
    case DType::kFloat16:
      return {.relative = 5e-3, .absolute = 1e-3};
    case DType::kBfloat16:
      return {.relative = 2e-2, .absolute = 1e-2};
    default:
      return {};
  }
}

double HalfToDouble(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  const double sign = bits >> 15 ? -1 : 1;
  if (exponent == 31) return fraction != 0 ? std::nan("") : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

template <typename T>
T Load(const Tensor& tensor, uint64_t index) {
  T value;
  std::memcpy(&value, tensor.bytes().data() + index * sizeof(T), sizeof(T));
  return value;
}

double FloatAt(const Tensor& tensor, uint64_t index) {
  switch (tensor.dtype()) {
    case DType::kFloat:
      return Load<float>(tensor, index);
    case DType::kDouble:
      return Load<double>(tensor, index);
    case DType::kFloat16:
      return HalfToDouble(Load<uint16_t>(tensor, index));
    default:
      return std::bit_cast<float>(static_cast<uint32_t>(Load<uint16_t>(tensor, index)) << 16);
  }
}

std::string FloatDifference(const Tensor& got, const Tensor& want) {
  const Allowance allowance = AllowanceOf(want.dtype());
  double largest = 1;
  for (uint64_t i = 0; i < want.num_elements(); ++i) {
    if (const double b = std::abs(FloatAt(want, i)); std::isfinite(b)) largest = std::max(largest, b);
  }
  for (uint64_t i = 0; i < want.num_elements(); ++i) {
    const double a = FloatAt(got, i);
    const double b = FloatAt(want, i);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    // Written so that a NaN or an infinity on one side is a difference.
    if (!(std::abs(a - b) <= allowance.absolute * largest + allowance.relative * std::abs(b)) || std::isinf(b)) {
      return absl::StrCat("element ", i, ": got ", a, ", want ", b);
    }
  }
  return "";
}

}  // namespace

std::string Difference(const Tensor& got, const Tensor& want) {
  if (got.dtype() != want.dtype() || got.shape() != want.shape()) {
    return absl::StrCat("got ", DTypeName(got.dtype()), ShapeString(got.shape()), ", want ", DTypeName(want.dtype()),
                        ShapeString(want.shape()));
  }
  if (AllowanceOf(want.dtype()).absolute > 0) return FloatDifference(got, want);
  if (got.bytes() == want.bytes()) return "";
  if (want.dtype() != DType::kString) return absl::StrCat("bytes of ", DTypeName(want.dtype()), " differ");
  for (uint64_t i = 0; i < want.num_elements(); ++i) {
    if (got.StringAt(i) != want.StringAt(i)) {
      return absl::StrCat("element ", i, ": got '", got.StringAt(i), "', want '", want.StringAt(i), "'");
    }
  }
  return "strings are kept differently";
}

}  // namespace portico
