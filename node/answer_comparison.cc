#include "node/answer_comparison.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/small_float.h"
#include "node/tensor_comparison.h"

namespace portico {
namespace {

constexpr double kUsualTolerance = 1e-3;

bool IsFloat(DType dtype) {
  return dtype == DType::kFloat || dtype == DType::kDouble || dtype == DType::kFloat16 || dtype == DType::kBfloat16;
}

/// REQUIRES: IsFloat().
double NumberAt(const Tensor& tensor, size_t index) {
  const char* const data = tensor.bytes().data();
  const auto read = [&](auto value) {
    std::memcpy(&value, data + index * sizeof value, sizeof value);
    return value;
  };
  switch (tensor.dtype()) {
    case DType::kFloat:
      return read(float{});
    case DType::kDouble:
      return read(double{});
    case DType::kFloat16:
      return FloatFromHalf(read(uint16_t{}));
    default:
      return FloatFromBfloat(read(uint16_t{}));
  }
}

/// The first of the largest elements of a row.
size_t Largest(const Tensor& tensor, size_t begin, size_t columns) {
  size_t best = 0;
  for (size_t i = 1; i < columns; ++i) {
    if (NumberAt(tensor, begin + i) > NumberAt(tensor, begin + best)) best = i;
  }
  return best;
}

/// The first row whose class is another one; empty: none. REQUIRES: same dtype and shape, IsFloat().
std::string OtherClass(const Tensor& got, const Tensor& want, size_t columns) {
  const size_t rows = want.num_elements() / columns;
  for (size_t row = 0; row < rows; ++row) {
    const size_t begin = row * columns;
    const size_t a = Largest(got, begin, columns), b = Largest(want, begin, columns);
    // Two that are as good as equal may change places.
    if (a == b || NumberAt(want, begin + b) - NumberAt(want, begin + a) <= kUsualTolerance) continue;
    return absl::StrCat("row ", row, ": got class ", a, ", want ", b);
  }
  return "";
}

void Compare(const Tensor& got, const Tensor& want, const std::string& name, double tolerance,
             AnswerComparison* comparison) {
  const double within = tolerance > 0 ? tolerance : kUsualTolerance;
  const TensorComparison tensors = CompareTensorsWithin(got, want, {.relative = within, .absolute = within});
  comparison->difference = std::max(comparison->difference, tensors.max_absolute);
  std::string where = tensors.outcome == TensorComparison::Outcome::kDifferent ? tensors.first : "";
  const bool alike = got.dtype() == want.dtype() && got.shape() == want.shape();
  if (tolerance <= 0 && alike && IsFloat(want.dtype()) && want.shape().size() > 1 && want.shape().back() > 1) {
    where = OtherClass(got, want, static_cast<size_t>(want.shape().back()));
  }
  if (where.empty() || !comparison->agrees) return;
  comparison->agrees = false;
  comparison->where = absl::StrCat("output '", name, "': ", where);
}

const NamedTensor* Find(absl::Span<const NamedTensor> tensors, const std::string& name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const auto& one) { return one.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

void Disagree(std::string where, AnswerComparison* comparison) {
  comparison->difference = std::numeric_limits<double>::infinity();
  if (comparison->agrees) comparison->where = std::move(where);
  comparison->agrees = false;
}

}  // namespace

AnswerComparison CompareAnswers(absl::Span<const NamedTensor> got, absl::Span<const NamedTensor> want,
                                double tolerance) {
  AnswerComparison comparison;
  for (const NamedTensor& output : want) {
    const NamedTensor* const other = Find(got, output.name);
    if (other == nullptr) {
      Disagree(absl::StrCat("output '", output.name, "': got none"), &comparison);
    } else {
      Compare(other->tensor, output.tensor, output.name, tolerance, &comparison);
    }
  }
  for (const NamedTensor& output : got) {
    if (Find(want, output.name) == nullptr)
      Disagree(absl::StrCat("output '", output.name, "': want none"), &comparison);
  }
  return comparison;
}

}  // namespace portico
