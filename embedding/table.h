#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "embedding/block_gate.h"
#include "embedding/bucket_index.h"
#include "embedding/id_bags.h"
#include "embedding/row_kernels.h"
#include "embedding/table_spec.h"
#include "embedding/touch_counts.h"

namespace portico {

class RowOverlay;

/// Where the parts of a table lie in memory; borrowed.
struct TableMemory {
  const char* rows = nullptr;
  uint64_t row_count = 0;
  size_t stride = 0;
  /// None for dense ids.
  BucketIndex index;
  /// Bytes of string ids.
  absl::string_view strings;
  /// Told where lookups read, of one id in many; null: nobody wants to know.
  TouchCounts* touches = nullptr;
  /// Rows that deltas brought; null for none: that costs nothing.
  const RowOverlay* overlay = nullptr;
  /// By which rows expire.
  const Clock* clock = &Clock::Real();

  /// Rows that dense ids have, those of deltas included.
  uint64_t all_rows() const;
  /// Whether any row will not be there some day.
  bool expires() const;
  /// Seconds since 1970, where any row expires.
  int64_t Now() const;
};

struct LookupCounts {
  /// Without padding.
  uint64_t ids = 0;
  /// Of these, how many the table does not have.
  uint64_t unknown = 0;
};

/// One table of a shard, as a request reads it: finds rows and pools them. Each lookup is a pipeline over its ids, so
/// that many cache lines are on their way at a time: fetch a bucket; read it, fetch the row; add the row. Thread-safe;
/// takes no lock and no memory. Borrows everything, which must outlive it.
class EmbeddingTable {
 public:
  /// `gate` may be null: memory that needs no questions. REQUIRES: `spec` is valid.
  EmbeddingTable(TableSpec spec, const TableMemory& memory, BlockGate* gate,
                 const RowKernels& kernels = RowKernels::Best());

  const TableSpec& spec() const { return spec_; }
  const TableMemory& memory() const { return memory_; }
  BlockGate* gate() const { return gate_; }

  /// Writes the pooled rows, `dim` numbers each, to `out`. INVALID_ARGUMENT for bags that are not valid, NOT_FOUND for
  /// an id that is not here where that is an error, DATA_LOSS for a block that is not as it was written; messages name
  /// the table. `out` holds anything after an error; for bags that are not valid it is as it was.
  absl::StatusOr<LookupCounts> Lookup(const IdBags& bags, Pooling pooling, absl::Span<float> out) const;
  /// Writes each id's row as it is stored, row_bytes() each, to `out`; what stands for an unknown id in the same form.
  /// Errors are those of Lookup(), and FAILED_PRECONDITION where that is a default row that the row type cannot hold.
  /// REQUIRES: no padding, no weights.
  absl::StatusOr<LookupCounts> CopyRows(const IdBags& ids, absl::Span<char> out) const;
  size_t row_bytes() const { return EncodedBytes(spec_.row_type, spec_.dim); }

  /// Ids since the start that the table did not have.
  uint64_t unknown_ids() const { return unknown_ids_.load(std::memory_order_relaxed); }
  uint64_t looked_up_ids() const { return looked_up_ids_.load(std::memory_order_relaxed); }

 private:
  /// Calls `take` with a finder for `bags` and the counts to fill until nothing it read was gone meanwhile.
  template <typename Take>
  absl::StatusOr<LookupCounts> Read(const IdBags& bags, const Take& take) const;
  absl::Status Named(const absl::Status& status) const;

  const TableSpec spec_;
  const TableMemory memory_;
  BlockGate* const gate_;
  const RowKernels& kernels_;
  /// What CopyRows() gives for an unknown id; empty: none that fits.
  std::string unknown_row_;
  mutable std::atomic<uint64_t> unknown_ids_{0};
  mutable std::atomic<uint64_t> looked_up_ids_{0};
};

/// Tables by their names: those of a shard file, or of a version of a shard. Thread-safe.
class TableSet {
 public:
  virtual ~TableSet() = default;
  /// Null where there is none of that name.
  virtual const EmbeddingTable* Find(absl::string_view name) const = 0;
  /// Of the file that they stand in; for messages.
  virtual const std::string& path() const = 0;
};

}  // namespace portico
