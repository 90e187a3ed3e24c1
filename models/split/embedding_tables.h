#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "embedding/group_writer.h"
#include "models/split/embedding_lookups.h"
#include "models/split/embedding_options.h"
#include "models/split/local_tables.h"

namespace portico {

/// A table as it was written, held against the weight.
struct TableReport {
  std::string name;
  uint64_t rows = 0;
  size_t dim = 0;
  /// Of the weight, and of rows in all shards.
  uint64_t weight_bytes = 0;
  uint64_t stored_bytes = 0;
  /// Largest difference of a value.
  double error = 0;
  /// What the row type allows it to be, in the row where it allows most.
  double bound = 0;
};

/// Rows done of rows in all; now and then.
using RowProgress = std::function<void(uint64_t done, uint64_t all)>;

/// How far a stored value of a row with these values may be off: half a step of its type, and for types with a scale
/// the rounding of the arithmetic.
double RowErrorBound(RowType type, absl::Span<const float> values);

/// Writes weights as tables, piece by piece.
absl::Status WriteTables(const std::vector<TableWeight>& weights, const EmbeddingOptions& options, GroupWriter& writer,
                         const RowProgress& progress);

/// Reads every row back. DATA_LOSS names one that is off by more than its bound.
absl::StatusOr<std::vector<TableReport>> CheckTables(const std::vector<TableWeight>& weights, const LocalTables& tables,
                                                     const RowProgress& progress);

}  // namespace portico
