#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "base/ref.h"
#include "base/tensor.h"

namespace portico {

/// The outputs of one row, in memory of their own. Immutable, shared by who keeps it and who answers with it.
class RowAnswer final : public RefCounted {
 public:
  /// What a copy of row `row` takes at least, without making it. REQUIRES: as Of().
  static uint64_t LeastBytes(absl::Span<const Tensor> outputs, int64_t row);
  /// A copy of row `row`. REQUIRES: HasRows(outputs, more than `row`).
  static Ref<const RowAnswer> Of(absl::Span<const Tensor> outputs, int64_t row);
  /// Whether each output has `rows` rows that can be taken apart.
  static bool HasRows(absl::Span<const Tensor> outputs, int64_t rows);

  /// All rows together, as outputs of one run would be; nothing where dtypes or inner shapes differ. REQUIRES: at least
  /// one row, none null.
  static std::optional<std::vector<Tensor>> Join(absl::Span<const Ref<const RowAnswer>> rows);

  /// Memory that it takes, what allocating it costs included.
  uint64_t bytes() const { return bytes_; }

 private:
  explicit RowAnswer(std::vector<Tensor> outputs);

  /// Each of one row.
  const std::vector<Tensor> outputs_;
  uint64_t bytes_ = 0;
};

}  // namespace portico
