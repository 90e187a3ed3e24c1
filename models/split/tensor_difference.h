#pragma once

#include "base/tensor.h"

namespace portico {

/// The largest absolute difference between elements of `a` and `b`; NaN equals NaN. Infinite where dtypes, shapes,
/// strings or NaNs differ.
double MaxDifference(const Tensor& a, const Tensor& b);

}  // namespace portico
