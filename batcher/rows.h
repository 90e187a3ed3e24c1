#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "base/tensor.h"
#include "batcher/batcher.h"

namespace portico {

/// Which calls of a function may be joined, and how.
struct JoinRule {
  enum class Role : uint8_t {
    /// The same for all rows of a run.
    kShared,
    /// Dim 0 counts rows.
    kRows,
    /// Dim 0 counts values of a ragged tensor.
    kValues,
    /// Numbers that say where rows of values begin, or which row a value is of: rebased where rows are joined. Row
    /// lengths are plain kRows.
    kPartition,
  };
  static JoinRule Of(const Batcher::Options& options);

  /// Per input.
  std::vector<Role> roles;
  std::vector<RaggedInput> ragged;
  /// Rows of different inner extents join: the shorter ones are padded at the end of each dim with their tensor's first
  /// element. Not strings, and not what is smaller than a byte.
  bool pad_inner = false;
  /// A call with more values goes alone where its offsets are int32: those of a joined run could overflow.
  int64_t max_int32_values = 0;

  /// The first ragged input that goes by `input`, which is its values or its partition. REQUIRES: there is one.
  const RaggedInput& RaggedOf(size_t input) const;
};

/// The rows of one call's inputs. Nothing where they cannot be joined with another call's: no input counts rows, the
/// inputs disagree about how many there are, a row does not fill whole bytes, or a partition is wrong.
std::optional<int64_t> JoinableRows(absl::Span<const Tensor> inputs, const JoinRule& rule);

/// Equal for inputs that can be joined: hashes dtypes and inner shapes of what counts rows or values, and the whole of
/// what is shared.
uint64_t JoinHash(absl::Span<const Tensor> inputs, const JoinRule& rule);

/// Whether two calls' inputs can be joined. REQUIRES: both have JoinableRows.
bool CanJoin(absl::Span<const Tensor> a, absl::Span<const Tensor> b, const JoinRule& rule);

/// One call's part of a run. REQUIRES: `rows` are its JoinableRows.
struct CallRows {
  absl::Span<const Tensor> inputs;
  int64_t rows = 0;
};

/// The inputs of one run over all `calls`: rows one after the other, copied once, then `padding` rows more that repeat
/// the first. A single call without padding is not copied. REQUIRES: CanJoin; with padding, at least one row.
std::vector<Tensor> GatherRows(absl::Span<const CallRows> calls, const JoinRule& rule, int64_t padding);

/// `call` in pieces of at most `piece_rows` rows, in order.
std::vector<std::vector<Tensor>> SplitRows(const CallRows& call, const JoinRule& rule, int64_t piece_rows);

/// Whether each of `outputs` has `rows` rows that can be taken apart.
bool CanScatter(absl::Span<const Tensor> outputs, int64_t rows);

/// Rows [begin, begin + count) of each of `tensors`: shares their memory, unless that would keep far more of it alive.
/// REQUIRES: CanScatter.
std::vector<Tensor> ScatterRows(absl::Span<const Tensor> tensors, int64_t begin, int64_t count);

}  // namespace portico
