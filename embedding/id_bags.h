#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "embedding/table_spec.h"

namespace portico {

/// How the rows of a bag become one.
enum class Pooling : uint8_t {
  kSum = 0,
  /// The sum, divided by the number of ids, unknown ones included. A bag of none is zeros.
  kMean = 1,
  /// Not at all: a row for each id.
  kNone = 2,
};

/// The ids of a lookup, borrowed: CSR (`ids`, `offsets`) or padded (`ids`, `width`).
///
///     ids     7 3 9 4        bag 0: rows 7 and 3
///     offsets 0 2 2 4        bag 1: none; bag 2: rows 9 and 4
struct IdBags {
  /// One of the two, as the table has them.
  absl::Span<const int64_t> ids;
  absl::Span<const absl::string_view> strings;
  /// CSR: where each bag begins, and behind the last one the number of ids.
  absl::Span<const int64_t> offsets;
  /// Padded: ids of each bag; 0: CSR.
  size_t width = 0;
  /// Ids of this value are left out, and do not count in a mean.
  std::optional<int64_t> padding;
  /// Empty string ids are left out, and do not count in a mean.
  bool empty_is_padding = false;
  /// None, or one for each id: its row is multiplied by it. Not with Pooling::kMean.
  absl::Span<const float> weights;

  size_t count() const { return ids.size() + strings.size(); }
  /// Rows of the result. REQUIRES: valid.
  size_t rows(Pooling pooling) const {
    if (pooling == Pooling::kNone) return count();
    return width != 0 ? count() / width : offsets.size() - 1;
  }

  /// INVALID_ARGUMENT says what is wrong with the shape, the offsets, the weights, or, where `kind` is dense, the ids.
  /// `table_rows` is looked at only where an unknown id is an error.
  absl::Status Validate(const TableSpec& spec, uint64_t table_rows, Pooling pooling) const;
};

}  // namespace portico
