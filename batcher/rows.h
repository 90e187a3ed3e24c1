#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "base/tensor.h"

namespace portico {

/// Which inputs of a function count rows in dim 0; the others are shared by all rows.
using RowInputs = std::vector<bool>;

/// The rows of one call's inputs. Nothing where they cannot be joined with another call's: no input counts rows, the
/// inputs disagree about how many there are, or a row does not fill whole bytes.
std::optional<int64_t> JoinableRows(absl::Span<const Tensor> inputs, const RowInputs& row_inputs);

/// Equal for inputs that can be joined: hashes dtypes and inner shapes of what counts rows, and the whole of what is
/// shared.
uint64_t JoinHash(absl::Span<const Tensor> inputs, const RowInputs& row_inputs);

/// Whether two calls' inputs can be joined. REQUIRES: both have JoinableRows.
bool CanJoin(absl::Span<const Tensor> a, absl::Span<const Tensor> b, const RowInputs& row_inputs);

/// The inputs of one run over all `calls`: rows one after the other, copied once. REQUIRES: CanJoin.
std::vector<Tensor> GatherRows(absl::Span<const absl::Span<const Tensor>> calls, const RowInputs& row_inputs);

/// Whether each of `outputs` has `rows` rows that can be taken apart.
bool CanScatter(absl::Span<const Tensor> outputs, int64_t rows);

/// Rows [begin, begin + count) of each of `outputs`: shares their memory, unless that would keep far more of it alive.
/// REQUIRES: CanScatter.
std::vector<Tensor> ScatterRows(absl::Span<const Tensor> outputs, int64_t begin, int64_t count);

}  // namespace portico
