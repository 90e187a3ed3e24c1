#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/small_float.h"
#include "models/runtime/row_check.h"

namespace portico {
namespace {

/// Element `index` of `bytes`, which need not be aligned.
template <typename T>
T Load(absl::string_view bytes, uint64_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

double Number(DType dtype, absl::string_view bytes, uint64_t index) {
  switch (dtype) {
    case DType::kFloat:
    case DType::kComplex64:
      return Load<float>(bytes, index);
    case DType::kDouble:
    case DType::kComplex128:
      return Load<double>(bytes, index);
    case DType::kFloat16:
      return FloatFromHalf(Load<uint16_t>(bytes, index));
    default:
      return FloatFromBfloat(Load<uint16_t>(bytes, index));
  }
}

/// The element count of what Number() reads: complex numbers are pairs.
uint64_t Numbers(const Tensor& tensor) {
  const bool pairs = tensor.dtype() == DType::kComplex64 || tensor.dtype() == DType::kComplex128;
  return tensor.num_elements() * (pairs ? 2 : 1);
}

absl::Status CompareFloats(const Tensor& got, const Tensor& want, Tolerance tolerance) {
  uint64_t first = 0;
  uint64_t differing = 0;
  double largest = 0;
  const uint64_t count = Numbers(got);
  for (uint64_t i = 0; i < count; ++i) {
    const double a = Number(got.dtype(), got.bytes(), i);
    const double b = Number(got.dtype(), want.bytes(), i);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    const double difference = std::fabs(a - b);
    // An infinity is off by infinitely much from all but itself; a NaN compares false with everything.
    if (difference <= tolerance.absolute + tolerance.relative * std::fabs(b) && std::isfinite(b)) continue;
    if (differing++ == 0) first = i;
    largest = std::fmax(largest, std::isnan(difference) ? INFINITY : difference);
  }
  if (differing == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("element ", first, ": got ", Number(got.dtype(), got.bytes(), first), ", want ",
                   Number(got.dtype(), want.bytes(), first), "; ", differing, " of ", count, " differ, by at most ",
                   largest, ", allowed is ", tolerance.absolute, " + ", tolerance.relative, " of the value"));
}

absl::Status CompareExactly(const Tensor& got, const Tensor& want) {
  if (got.bytes() == want.bytes()) return absl::OkStatus();
  const uint64_t count = got.num_elements();
  if (got.dtype() == DType::kString) {
    for (uint64_t i = 0; i < count; ++i) {
      if (got.StringAt(i) != want.StringAt(i)) {
        return absl::FailedPreconditionError(
            absl::StrCat("element ", i, ": got '", got.StringAt(i), "', want '", want.StringAt(i), "'"));
      }
    }
    return absl::OkStatus();
  }
  uint64_t at = 0;
  while (got.bytes()[at] == want.bytes()[at]) ++at;
  return absl::FailedPreconditionError(absl::StrCat("element ", at * 8 / BitsPerElement(got.dtype()), " of ", count,
                                                    ": got other bits, want equal ", DTypeName(got.dtype())));
}

}  // namespace

Tolerance ToleranceOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat:
    case DType::kComplex64:
      return {.absolute = 1e-4, .relative = 1e-3};
    case DType::kDouble:
    case DType::kComplex128:
      return {.absolute = 1e-7, .relative = 1e-6};
    case DType::kFloat16:
      return {.absolute = 1e-2, .relative = 1e-2};
    case DType::kBfloat16:
      return {.absolute = 4e-2, .relative = 4e-2};
    default:
      return {};
  }
}

absl::Status CompareTensors(const Tensor& got, const Tensor& want) {
  if (got.dtype() != want.dtype() || got.shape() != want.shape()) {
    return absl::FailedPreconditionError(absl::StrCat("tensor: got ", DTypeName(got.dtype()), ShapeString(got.shape()),
                                                      ", want ", DTypeName(want.dtype()), ShapeString(want.shape())));
  }
  const Tolerance tolerance = ToleranceOf(got.dtype());
  return tolerance.absolute == 0 ? CompareExactly(got, want) : CompareFloats(got, want, tolerance);
}

}  // namespace portico
