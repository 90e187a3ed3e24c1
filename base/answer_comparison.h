#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/tensor.h"

namespace portico {

/// How one answer differs from another.
struct AnswerComparison {
  bool agrees = true;
  /// The largest between two numbers; infinite where dtypes, shapes, names or texts differ.
  double difference = 0;
  /// Where they first disagree, for people; empty where they agree.
  std::string where;
};

/// Compares `got` with `want` by the outputs' names. With a `tolerance` every floating-point element has to be within
/// it, absolutely or relative to the one that is wanted. Without, rows of two and more agree where their largest
/// element is the same one (or as large, within 0.001), and single elements within 0.001. NaN and infinities agree with
/// themselves alone. Everything else has to be equal. Outputs that only one of them has disagree.
AnswerComparison CompareAnswers(absl::Span<const NamedTensor> got, absl::Span<const NamedTensor> want,
                                double tolerance);

/// Which rows (of dim 0) disagree by these rules, each by itself: entry i says it of row i of `got` and row
/// want_rows[i] of `want`. REQUIRES: same dtype and inner shape, rank >= 1, `want_rows` in range, no more than `got`
/// has rows.
std::vector<bool> RowsThatDisagree(const Tensor& got, const Tensor& want, absl::Span<const int64_t> want_rows,
                                   double tolerance);

}  // namespace portico
