#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "models/compose/expression.h"
#include "models/compose/op_writer.h"
#include "models/package/signature.h"

namespace portico {

/// Turns a condition into ordinary ops over the tensors that `outputs` name (graph_name), behind those that `ops` has
/// written. Returns the tensor with the condition, bool[N].
///
/// Each output gives one value per row ([N] or [N,1]) or a row of values ([N,C]). Numbers are float32 (half types too),
/// float64 (uint64 too) or int64 (smaller integers too); where two meet, constants take the output's type if they fit,
/// int64 meets floats as float64, and `/` of integers is float64. Comparisons with NaN are false but for `!=`, as in
/// C++. Functions of a row x:
///   max, min     the largest, the smallest value
///   argmax       its column, the first of equal ones
///   margin       the largest less the second largest
///   entropy      −Σ x·ln x, for x that are probabilities
///   softmax      of each value; a row again
///   abs          of each value
///   isnan        whether any value is NaN
/// margin and entropy of one value p are those of (p, 1 − p). Rows with NaN have NaN for all of these; argmax −1.
///
/// INVALID_ARGUMENT, with the column, for names that are not among `outputs` (which are listed) and for types that do
/// not go together.
absl::StatusOr<std::string> CompileExpression(const Expression& expression, absl::Span<const TensorSpec> outputs,
                                              OpWriter& ops);

/// How far a condition is from not holding, float[N]: what rows for which it holds are ordered by when not all of them
/// can be served. Of a comparison the distance of its sides, in their unit, below 0 where it does not hold; of `&&` the
/// smaller, of `||` the larger, of `!` the negative one. What is yes or no (text, truth values, isnan) is ±1e30; rows
/// whose numbers are NaN have NaN. Errors as above.
absl::StatusOr<std::string> CompileMargin(const Expression& condition, absl::Span<const TensorSpec> outputs,
                                          OpWriter& ops);

/// A number per row instead of a condition, as float[N]. Errors as above.
absl::StatusOr<std::string> CompileNumber(const Expression& expression, absl::Span<const TensorSpec> outputs,
                                          OpWriter& ops);
/// What an expression gives for each row, where it is one value.
struct RowValue {
  /// [N].
  std::string tensor;
  /// kFloat, kDouble, kInt64, kString or kBool: as CompileExpression() computes with it.
  DType dtype = DType::kInvalid;
};

/// The same of an expression of any type. INVALID_ARGUMENT too for what is constant, and for a row of values.
absl::StatusOr<RowValue> CompileRowValue(const Expression& expression, absl::Span<const TensorSpec> outputs,
                                         OpWriter& ops);

/// What CompileExpression() would find wrong.
absl::Status CheckExpression(const Expression& expression, absl::Span<const TensorSpec> outputs,
                             int64_t opset = OpWriter::kTextEqualOpset);

}  // namespace portico
