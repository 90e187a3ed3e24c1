#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"

namespace portico {

/// How one tensor says where the rows of another one, a ragged tensor's values, begin and end. Whole numbers, int32 or
/// int64, of rank 1. Rows [a b] [] [c]:
enum class RowPartition {
  kNone,
  /// [0 2 2 3]: where each row begins, and the end of the last one.
  kRowSplits,
  /// [0 2 2]: where each row begins.
  kRowStarts,
  /// [2 0 1]: how many values each row has.
  kRowLengths,
  /// [0 0 2]: of each value, its row; never falling. Says nothing of empty rows at the end: another input counts rows.
  kSegmentIds,
};

/// "row_splits", "row_starts", "row_lengths", "segment_ids"; empty for kNone.
absl::string_view RowPartitionName(RowPartition kind);
/// kNone for any other name.
RowPartition RowPartitionOf(absl::string_view name);

/// The rows that `partition` says: by its length, without a look at its numbers. −1 for kSegmentIds, and where it has
/// not even one number as row_splits must.
int64_t RowsOfPartition(RowPartition kind, const Tensor& partition);

/// Reads every number: INVALID_ARGUMENT "got ..., want ..." unless they are of dtype and rank, begin at 0, do not fall,
/// are not negative, and end exactly where `values` (their number) end; of segment ids, unless they are below `rows`.
/// `rows` −1: not known. Returns the rows, as RowsOfPartition() does.
absl::StatusOr<int64_t> CheckRowPartition(RowPartition kind, const Tensor& partition, int64_t values, int64_t rows);

/// How many values rows [begin, begin + count) have, where `first` have come before them. REQUIRES: a partition that
/// CheckRowPartition() took, and rows in range.
int64_t ValuesOfRows(RowPartition kind, const Tensor& partition, int64_t values, int64_t first, int64_t begin,
                     int64_t count);

/// The numbers of `partition`, read wherever they lie: what comes off a wire need not be aligned.
int64_t PartitionAt(const Tensor& partition, int64_t index);

}  // namespace portico
