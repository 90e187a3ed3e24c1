#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "embedding/table.h"
#include "embedding/table_spec.h"

namespace portico::bench {

/// What scenarios look up in tables of this process, and how they count it.

/// One batch of ids, and how many different ones there are.
inline constexpr size_t kBatchIds = 16384;
inline constexpr size_t kBatches = 64;

/// Rows of a table: PORTICO_BENCH_ROWS, or 4 million.
size_t TableRows();

struct TableLoad {
  /// In figures' names.
  std::string name;
  TableSpec spec;
  /// Ids a bag.
  size_t pooling = 1;
  /// The row of rank r is asked for about r^-alpha times; 0: all alike.
  double alpha = 0;
  /// Whether rows stand in the table by rank, as ids of a vocabulary do, or anywhere.
  bool by_rank = false;
};

int64_t IdOf(IdKind kind, size_t row);

/// kBatches batches of kBatchIds, the same each time.
struct TableLookups {
  std::vector<size_t> rows;
  std::vector<int64_t> ids;
  /// Of the bags of one batch, whichever it is.
  std::vector<int64_t> offsets;
};
TableLookups DrawLookups(const TableLoad& load, size_t rows);

/// A shard file of one table.
void BuildTable(const std::string& path, const TableSpec& spec, size_t rows);

/// Calls `batch(first id)` for batches in turn for 150 ms: ids a second of this thread's own time, so that what else
/// the machine does takes less away.
double LookupRate(absl::FunctionRef<void(size_t first)> batch, size_t batch_ids = kBatchIds);

/// Of sums over the lookups' bags.
double SumRate(const EmbeddingTable& table, const TableLookups& lookups);

/// Processor time of this thread.
absl::Duration ThreadTime();

}  // namespace portico::bench
