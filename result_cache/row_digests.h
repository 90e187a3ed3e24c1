#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/digest.h"
#include "base/tensor.h"

namespace portico {

/// What the rows of a request are known by: SHA-256 over the model's digest, the signature, dtypes and inner shapes of
/// all inputs, the whole of the inputs that rows share, and the row's own bytes, each with its length in front. No two
/// rows that could have different answers are known to have one digest, whoever chose them. Immutable.
class RowDigests {
 public:
  /// Rows of a request that are told apart: each costs some hundred bytes and a microsecond, however short it is.
  static constexpr int64_t kMaxRows = 4096;

  /// `row_inputs`: per input whether dim 0 counts rows; the others are shared by all rows. REQUIRES: one counts rows.
  RowDigests(const Digest& model, absl::string_view signature, std::vector<bool> row_inputs);

  /// Rows of a request; nothing where they are not to be told apart: inputs disagree about their number, a row does not
  /// fill whole bytes or takes none, or there are more than kMaxRows. REQUIRES: as many inputs as row_inputs.
  std::optional<int64_t> RowsOf(absl::Span<const Tensor> inputs) const;
  /// One for each row. REQUIRES: RowsOf(inputs) says `rows`.
  absl::InlinedVector<Digest, 1> Of(absl::Span<const Tensor> inputs, int64_t rows) const;

  const std::vector<bool>& row_inputs() const { return row_inputs_; }

 private:
  /// Of model and signature.
  Digest base_;
  std::vector<bool> row_inputs_;
};

}  // namespace portico
