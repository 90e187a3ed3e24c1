#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "base/row_partition.h"
#include "base/tensor.h"

namespace portico {

/// A call's rows of a ragged tensor: what its partition says of its values.
struct RaggedRows {
  Tensor partition;
  int64_t values = 0;
  int64_t rows = 0;
};

/// The partition of the rows of all `calls` one after the other, then `padding` rows more, each with the values of the
/// first row, `padding_values` of them: offsets go on where the call before ended, segment ids count its rows. Copies
/// once. Not for row lengths, which join like rows. REQUIRES: one dtype; CheckRowPartition() took each; sums fit it.
Tensor JoinPartitions(RowPartition kind, absl::Span<const RaggedRows> calls, int64_t padding, int64_t padding_values);

/// The partition of rows [begin, begin + count) of `call`, which have values [first_value, first_value + values), as a
/// call of its own. Not for row lengths.
Tensor CutPartition(RowPartition kind, const Tensor& partition, int64_t begin, int64_t count, int64_t first_value,
                    int64_t values);

}  // namespace portico
