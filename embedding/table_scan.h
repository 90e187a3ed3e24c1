#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "embedding/row_overlay.h"
#include "embedding/table.h"

namespace portico {

/// Reads all rows of a table one after the other, as its version has them: updated rows in place of the base's, none of
/// those that are deleted or have expired. Dense rows come in their order. For one thread; borrows the table.
class TableScan {
 public:
  struct Row {
    /// Of dense and sparse ids.
    int64_t number = 0;
    /// Of string ids.
    absl::string_view string;
    int64_t until = UpdatedRow::kForever;
    /// As the row type has them.
    absl::string_view numbers;
  };

  /// `now`: seconds since 1970.
  TableScan(const EmbeddingTable& table, int64_t now);

  /// False: there are no more. `row` is good until the next call. DATA_LOSS for a block that is not as it was written.
  absl::StatusOr<bool> Next(Row* row);

 private:
  /// False: the row is not there any more.
  absl::StatusOr<bool> ReadBase(uint64_t number, Row* row);
  bool ReadUpdated(uint32_t number, Row* row) const;
  absl::Status Ensure(const char* at, size_t bytes);

  const EmbeddingTable& table_;
  const TableMemory& memory_;
  const int64_t now_;
  const uint64_t faults_;
  uint64_t at_ = 0;
  /// Rows of the overlay that stand in place of a base row: they were read.
  std::vector<bool> seen_;
  size_t bucket_ = 0;
  uint32_t slot_ = 0;
};

}  // namespace portico
