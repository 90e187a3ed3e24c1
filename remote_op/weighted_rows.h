#pragma once

#include <cstddef>
#include <cstdint>

namespace portico {

/// row = weight · answer, both of `size` floats that do not overlap.
void SetWeighted(float* row, const float* answer, float weight, size_t size);
/// row += weight · answer.
void AddWeighted(float* row, const float* answer, float weight, size_t size);

}  // namespace portico
