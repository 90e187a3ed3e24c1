#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "models/package/signature.h"
#include "models/runtime/session.h"

namespace portico {

/// Whether the rows of many requests may be joined in front of a session, and which of its tensors count rows.
struct RowAxes {
  bool joinable = false;
  /// Why not, for the log; empty where joinable.
  std::string reason;
  /// Per input of the session.
  std::vector<AxisKind> inputs;
  /// Of the inputs that are ragged: positions of values, and of what divides them.
  struct Ragged {
    size_t values = 0;
    size_t partition = 0;
    RowPartition kind = RowPartition::kNone;
  };
  std::vector<Ragged> ragged;
  /// Per output; all kRows where joinable.
  std::vector<AxisKind> outputs;
};

/// Decides by the rule of the design: inputs and outputs share one symbolic dim 0, and a check shows that joining then
/// splitting equals separate runs (generated inputs, 2 and 3 rows against 5, 1 and 2 against 3, several draws). Extents
/// without a symbol are not taken for rows: nothing says that they are equal to each other. Runs the session about ten
/// times.
RowAxes InferRowAxes(Session& session);

/// A value for every input of `specs`, symbols in `extents` (others take 3), plausible for what models expect: floats
/// around 0, small non-negative integers, short words, both booleans. Deterministic by `seed`.
std::vector<Tensor> GenerateInputs(const std::vector<TensorSpec>& specs,
                                   const std::vector<std::pair<std::string, int64_t>>& extents, uint64_t seed);

/// How far apart two elements may be: |got - want| <= absolute + relative * |want|. Both 0 for types that are compared
/// exactly.
struct Tolerance {
  double absolute = 0;
  double relative = 0;
};
Tolerance ToleranceOf(DType dtype);

/// OK when the tensors are equal within what their dtype allows (absolute plus relative for floats; NaN equals NaN;
/// other types exactly); otherwise FAILED_PRECONDITION that names the first difference and the largest.
absl::Status CompareTensors(const Tensor& got, const Tensor& want);

}  // namespace portico
