#include "base/answer_comparison.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/small_float.h"
#include "base/tensor_comparison.h"

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

/// The first of the largest elements of a row; what is not a number is less than any.
size_t Largest(const Tensor& tensor, size_t begin, size_t columns) {
  size_t best = 0;
  for (size_t i = 1; i < columns; ++i) {
    const double x = NumberAt(tensor, begin + i), most = NumberAt(tensor, begin + best);
    if (x > most || (std::isnan(most) && !std::isnan(x))) best = i;
  }
  return best;
}

bool Same(double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); }

/// Where one of two rows has NaN or an infinity, and the other has not the same; `columns`: nowhere.
size_t OtherNonFinite(const Tensor& got, size_t at, const Tensor& want, size_t want_at, size_t columns) {
  for (size_t i = 0; i < columns; ++i) {
    const double x = NumberAt(got, at + i), y = NumberAt(want, want_at + i);
    if ((!std::isfinite(x) || !std::isfinite(y)) && !Same(x, y)) return i;
  }
  return columns;
}

/// Whether rows are compared by their largest element.
bool ByClass(const Tensor& want, double tolerance) {
  return tolerance <= 0 && IsFloat(want.dtype()) && want.shape().size() > 1 && want.shape().back() > 1;
}

/// Whether `columns` elements, from `at` and `want_at` on, have largest ones in different places, or are NaN or
/// infinite in different places. Two that are as good as equal may change places.
bool OtherLargest(const Tensor& got, size_t at, const Tensor& want, size_t want_at, size_t columns) {
  if (OtherNonFinite(got, at, want, want_at, columns) < columns) return true;
  const size_t a = Largest(got, at, columns), b = Largest(want, want_at, columns);
  return a != b && !(NumberAt(want, want_at + b) - NumberAt(want, want_at + a) <= kUsualTolerance);
}

/// The first row whose class is another one; empty: none. REQUIRES: same dtype and shape, IsFloat().
std::string OtherClass(const Tensor& got, const Tensor& want, size_t columns) {
  const size_t rows = want.num_elements() / columns;
  for (size_t row = 0; row < rows; ++row) {
    const size_t begin = row * columns;
    if (!OtherLargest(got, begin, want, begin, columns)) continue;
    if (const size_t i = OtherNonFinite(got, begin, want, begin, columns); i < columns) {
      return absl::StrCat("row ", row, ", element ", i, ": got ", NumberAt(got, begin + i), ", want ",
                          NumberAt(want, begin + i));
    }
    return absl::StrCat("row ", row, ": got class ", Largest(got, begin, columns), ", want ",
                        Largest(want, begin, columns));
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
  if (alike && ByClass(want, tolerance)) {
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

/// Whether `count` numbers differ, from `at` and `want_at` on, as CompareTensorsWithin() would have it.
bool NumbersDiffer(const Tensor& got, size_t at, const Tensor& want, size_t want_at, size_t count, double within) {
  for (size_t i = 0; i < count; ++i) {
    const double x = NumberAt(got, at + i), y = NumberAt(want, want_at + i);
    if (Same(x, y)) continue;
    if (!std::isfinite(x) || !std::isfinite(y) || std::abs(x - y) > within + within * std::abs(y)) return true;
  }
  return false;
}

/// The same of what has to be equal.
bool ElementsDiffer(const Tensor& got, size_t at, const Tensor& want, size_t want_at, size_t count) {
  const auto bits = static_cast<size_t>(BitsPerElement(want.dtype()));
  if (want.dtype() == DType::kString) {
    for (size_t i = 0; i < count; ++i) {
      if (got.StringAt(at + i) != want.StringAt(want_at + i)) return true;
    }
    return false;
  }
  if (bits % 8 == 0) {
    const size_t size = bits / 8;
    return got.bytes().substr(at * size, count * size) != want.bytes().substr(want_at * size, count * size);
  }
  // 4 bits: two to a byte, the lower half first.
  const auto half = [](const Tensor& tensor, size_t i) {
    return static_cast<unsigned char>(tensor.bytes()[i / 2]) >> (i % 2 * 4) & 15;
  };
  for (size_t i = 0; i < count; ++i) {
    if (half(got, at + i) != half(want, want_at + i)) return true;
  }
  return false;
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

std::vector<bool> RowsThatDisagree(const Tensor& got, const Tensor& want, absl::Span<const int64_t> want_rows,
                                   double tolerance) {
  std::vector<bool> disagree(want_rows.size(), false);
  if (want_rows.empty()) return disagree;
  const size_t count = got.num_elements() / static_cast<size_t>(got.rows());
  const bool by_class = ByClass(want, tolerance);
  const size_t columns = by_class ? static_cast<size_t>(want.shape().back()) : 0;
  for (size_t i = 0; i < want_rows.size(); ++i) {
    const size_t at = i * count, want_at = static_cast<size_t>(want_rows[i]) * count;
    if (by_class) {
      for (size_t k = 0; k < count && !disagree[i]; k += columns) {
        disagree[i] = OtherLargest(got, at + k, want, want_at + k, columns);
      }
    } else if (IsFloat(want.dtype())) {
      disagree[i] = NumbersDiffer(got, at, want, want_at, count, tolerance > 0 ? tolerance : kUsualTolerance);
    } else {
      disagree[i] = ElementsDiffer(got, at, want, want_at, count);
    }
  }
  return disagree;
}

}  // namespace portico
