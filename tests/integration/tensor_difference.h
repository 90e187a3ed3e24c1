#pragma once

#include <string>

#include "base/tensor.h"

namespace portico {

/// Empty when `got` is `want`; else the first difference. Floating point may differ by a bound of its dtype: relative
/// to the number, plus a little relative to the tensor's largest magnitude (what cancels out of large terms is not
/// exact). NaN equals NaN. Written apart from the comparison that the mesh itself uses.
std::string Difference(const Tensor& got, const Tensor& want);

}  // namespace portico
