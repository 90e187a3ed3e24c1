#pragma once

#include "embedding/row_kernels.h"

namespace portico {

// One file each. Not for callers: RowKernels::For() knows what this processor can run.
const RowKernels& PortableRowKernels();
#if defined(__x86_64__)
const RowKernels& Avx2RowKernels();
const RowKernels& Avx512RowKernels();
#endif

}  // namespace portico
