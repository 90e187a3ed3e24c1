#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "base/tensor.h"

namespace portico {

// Some rows (of dim 0) of tensors taken out, and put back where they were: of any dtype, strings too, and any rank from
// 1 on. Pure. Rows that lie side by side are copied together; nothing is allocated but the result.

/// Whether rows of `tensor` begin at whole bytes; false for a scalar. Strings do.
bool HasWholeRows(const Tensor& tensor);

/// Which of `mask` are true, ascending. REQUIRES: bool[N].
std::vector<int64_t> TrueRows(const Tensor& mask);

/// Row i of the result is row rows[i] of `tensor`. All of its rows, or one run of whole bytes, are a view of the same
/// memory. REQUIRES: rank >= 1, rows in range.
Tensor TakeRows(const Tensor& tensor, absl::Span<const int64_t> rows);

/// `base` with row i of `part` as its row rows[i]. REQUIRES: `rows` ascending, each once, in range, as many as `part`
/// has; same dtype and inner shape; rank >= 1.
Tensor PutRows(const Tensor& base, absl::Span<const int64_t> rows, const Tensor& part);

/// What stands for no answer, in every element: NaN, or 0, "", false where the type has no NaN. REQUIRES: the size was
/// checked against a limit.
Tensor Marks(DType dtype, Shape shape);

}  // namespace portico
