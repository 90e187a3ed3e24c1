#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "base/tensor.h"

namespace portico {

/// Which calls of a function may be joined, and how.
struct JoinRule {
  /// Per input: whether it counts rows in dim 0; the others are shared by all rows.
  std::vector<bool> row_inputs;
  /// Rows of different inner extents join: the shorter ones are padded at the end of each dim with their tensor's first
  /// element. Not strings, and not what is smaller than a byte.
  bool pad_inner = false;
};

/// The rows of one call's inputs. Nothing where they cannot be joined with another call's: no input counts rows, the
/// inputs disagree about how many there are, or a row does not fill whole bytes.
std::optional<int64_t> JoinableRows(absl::Span<const Tensor> inputs, const JoinRule& rule);

/// Equal for inputs that can be joined: hashes dtypes and inner shapes of what counts rows, and the whole of what is
/// shared.
uint64_t JoinHash(absl::Span<const Tensor> inputs, const JoinRule& rule);

/// Whether two calls' inputs can be joined. REQUIRES: both have JoinableRows.
bool CanJoin(absl::Span<const Tensor> a, absl::Span<const Tensor> b, const JoinRule& rule);

/// The inputs of one run over all `calls`: rows one after the other, copied once, then `padding` rows more that repeat
/// the first. A single call without padding is not copied. REQUIRES: CanJoin; with padding, at least one row.
std::vector<Tensor> GatherRows(absl::Span<const absl::Span<const Tensor>> calls, const JoinRule& rule, int64_t padding);

/// Whether each of `outputs` has `rows` rows that can be taken apart.
bool CanScatter(absl::Span<const Tensor> outputs, int64_t rows);

/// Rows [begin, begin + count) of each of `tensors`: shares their memory, unless that would keep far more of it alive.
/// REQUIRES: CanScatter.
std::vector<Tensor> ScatterRows(absl::Span<const Tensor> tensors, int64_t begin, int64_t count);

}  // namespace portico
