#pragma once

#include "embedding/row_kernels.h"

namespace portico {

/// Rows one by one.
template <RowKernels::Add kAdd>
void AddEachRow(const char* const* rows, const float* weights, size_t count, size_t dim, float* out) {
  for (size_t i = 0; i < count; ++i) kAdd(rows[i], weights == nullptr ? 1.0f : weights[i], dim, out);
}

// One file each. Not for callers: RowKernels::For() knows what this processor can run.
const RowKernels& PortableRowKernels();
#if defined(__x86_64__)
const RowKernels& Avx2RowKernels();
const RowKernels& Avx512RowKernels();
#endif

}  // namespace portico
