#pragma once

#include <string>

#include "base/tensor.h"

namespace portico {

/// By how much numbers may differ: |got − want| ≤ absolute · largest + relative · |want|, where `largest` is the
/// tensor's largest magnitude, at least 1 (what cancels out of large terms is not exact).
struct Tolerance {
  double relative = 0;
  double absolute = 0;
};

/// What a served model's outputs may differ by from those of the same model run elsewhere; 0 but for floating point.
Tolerance ToleranceOf(DType dtype);

/// Empty when `got` is `want` within ToleranceOf its dtype; else the first difference. NaN equals NaN.
std::string Difference(const Tensor& got, const Tensor& want);

}  // namespace portico
