#include "base/tensor_comparison.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/small_float.h"

namespace portico {
namespace {

using Outcome = TensorComparison::Outcome;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
/// What is shown of a string.
constexpr size_t kMaxShown = 40;

/// A number of 16 bits, as `float`.
template <float (*kToFloat)(uint16_t)>
struct SmallFloat {
  uint16_t bits;
  operator double() const { return kToFloat(bits); }  // NOLINT: it is what it stands for
};

template <typename T>
T ElementAt(absl::string_view bytes, uint64_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

/// Adds one element's difference.
void Add(double absolute, double relative, bool within, uint64_t index, double got, double want,
         TensorComparison* comparison) {
  comparison->max_absolute = std::max(comparison->max_absolute, absolute);
  comparison->max_relative = std::max(comparison->max_relative, relative);
  if (within) {
    if (comparison->outcome == Outcome::kEqual) comparison->outcome = Outcome::kWithin;
    return;
  }
  comparison->outcome = Outcome::kDifferent;
  if (comparison->different++ == 0) comparison->first = absl::StrCat("element ", index, ": got ", got, ", want ", want);
}

template <typename T>
void CompareFloats(absl::string_view got, absl::string_view want, const Tolerance& tolerance,
                   TensorComparison* comparison) {
  for (uint64_t i = 0; i < want.size() / sizeof(T); ++i) {
    const double x = ElementAt<T>(got, i);
    const double y = ElementAt<T>(want, i);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double absolute = std::isfinite(x) && std::isfinite(y) ? std::abs(x - y) : kInfinity;
    const double relative = y != 0 && std::isfinite(absolute) ? absolute / std::abs(y) : kInfinity;
    const bool within = absolute != kInfinity && absolute <= tolerance.absolute + tolerance.relative * std::abs(y);
    Add(absolute, relative, within, i, x, y, comparison);
  }
}

template <typename T>
void CompareIntegers(absl::string_view got, absl::string_view want, TensorComparison* comparison) {
  for (uint64_t i = 0; i < want.size() / sizeof(T); ++i) {
    const T x = ElementAt<T>(got, i);
    const T y = ElementAt<T>(want, i);
    if (x == y) continue;
    // In unsigned numbers, which neither overflow nor round.
    const uint64_t apart = x > y ? static_cast<uint64_t>(x) - static_cast<uint64_t>(y)
                                 : static_cast<uint64_t>(y) - static_cast<uint64_t>(x);
    const auto absolute = static_cast<double>(apart);
    const double relative = y != 0 ? absolute / std::abs(static_cast<double>(y)) : kInfinity;
    Add(absolute, relative, false, i, static_cast<double>(x), static_cast<double>(y), comparison);
    if (comparison->different == 1) comparison->first = absl::StrCat("element ", i, ": got ", +x, ", want ", +y);
  }
}

std::string Shown(absl::string_view text) {
  return absl::StrCat("'", absl::CHexEscape(text.substr(0, kMaxShown)), text.size() > kMaxShown ? "…'" : "'");
}

void CompareStrings(const Tensor& got, const Tensor& want, TensorComparison* comparison) {
  for (uint64_t i = 0; i < want.num_elements(); ++i) {
    if (got.StringAt(i) == want.StringAt(i)) continue;
    Add(kInfinity, kInfinity, false, i, 0, 0, comparison);
    if (comparison->different > 1) continue;
    comparison->first =
        absl::StrCat("element ", i, ": got ", Shown(got.StringAt(i)), ", want ", Shown(want.StringAt(i)));
  }
}

/// Of types that are read by nobody: 8 and 4 bits.
void CompareBytes(absl::string_view got, absl::string_view want, TensorComparison* comparison) {
  for (size_t i = 0; i < want.size(); ++i) {
    if (got[i] == want[i]) continue;
    Add(kInfinity, kInfinity, false, i, 0, 0, comparison);
    if (comparison->different == 1) comparison->first = absl::StrCat("byte ", i, " differs");
  }
}

}  // namespace

TensorComparison CompareTensorsWithin(const Tensor& got, const Tensor& want, const Tolerance& tolerance) {
  TensorComparison comparison;
  if (got.dtype() != want.dtype() || got.shape() != want.shape()) {
    comparison.outcome = Outcome::kDifferent;
    comparison.max_absolute = comparison.max_relative = kInfinity;
    comparison.first = absl::StrCat("got ", DTypeName(got.dtype()), ShapeString(got.shape()), ", want ",
                                    DTypeName(want.dtype()), ShapeString(want.shape()));
    return comparison;
  }
  const absl::string_view a = got.bytes(), b = want.bytes();
  if (a == b) return comparison;
  switch (want.dtype()) {
    case DType::kFloat:
    case DType::kComplex64:
      CompareFloats<float>(a, b, tolerance, &comparison);
      break;
    case DType::kDouble:
    case DType::kComplex128:
      CompareFloats<double>(a, b, tolerance, &comparison);
      break;
    case DType::kFloat16:
      CompareFloats<SmallFloat<FloatFromHalf>>(a, b, tolerance, &comparison);
      break;
    case DType::kBfloat16:
      CompareFloats<SmallFloat<FloatFromBfloat>>(a, b, tolerance, &comparison);
      break;
    case DType::kBool:
    case DType::kUint8:
      CompareIntegers<uint8_t>(a, b, &comparison);
      break;
    case DType::kInt8:
      CompareIntegers<int8_t>(a, b, &comparison);
      break;
    case DType::kUint16:
      CompareIntegers<uint16_t>(a, b, &comparison);
      break;
    case DType::kInt16:
      CompareIntegers<int16_t>(a, b, &comparison);
      break;
    case DType::kUint32:
      CompareIntegers<uint32_t>(a, b, &comparison);
      break;
    case DType::kInt32:
      CompareIntegers<int32_t>(a, b, &comparison);
      break;
    case DType::kUint64:
      CompareIntegers<uint64_t>(a, b, &comparison);
      break;
    case DType::kInt64:
      CompareIntegers<int64_t>(a, b, &comparison);
      break;
    case DType::kString:
      CompareStrings(got, want, &comparison);
      break;
    default:
      CompareBytes(a, b, &comparison);
      break;
  }
  return comparison;
}

}  // namespace portico
