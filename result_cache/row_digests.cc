#include "result_cache/row_digests.h"

#include <utility>

#include "base/check.h"
#include "base/rows.h"

namespace portico {
namespace {

/// Adds row `row` of a tensor of strings: each with its length.
void AddStrings(const Tensor& tensor, uint64_t row, uint64_t row_elements, Hasher& hasher) {
  for (uint64_t element = row * row_elements; element < (row + 1) * row_elements; ++element) {
    hasher.Add(tensor.StringAt(element));
  }
}

}  // namespace

RowDigests::RowDigests(const Digest& model, absl::string_view signature, std::vector<bool> row_inputs)
    : base_(Hasher().Add(model).Add(signature).Finish()), row_inputs_(std::move(row_inputs)) {}

std::optional<int64_t> RowDigests::RowsOf(absl::Span<const Tensor> inputs) const {
  PORTICO_CHECK(inputs.size() == row_inputs_.size());
  std::optional<int64_t> rows;
  bool has_elements = false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!row_inputs_[i]) continue;
    if (!HasWholeRows(inputs[i]) || (rows.has_value() && *rows != inputs[i].rows())) return std::nullopt;
    rows = inputs[i].rows();
    has_elements |= inputs[i].num_elements() > 0;
  }
  // A shape can say any number of rows that take no bytes.
  if (rows.value_or(0) > 0 && (!has_elements || *rows > kMaxRows)) return std::nullopt;
  return rows;
}

absl::InlinedVector<Digest, 1> RowDigests::Of(absl::Span<const Tensor> inputs, int64_t rows) const {
  Hasher common;
  common.Add(base_);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& input = inputs[i];
    common.Add(static_cast<uint64_t>(input.dtype())).Add(input.shape().size());
    for (size_t d = row_inputs_[i] ? 1 : 0; d < input.shape().size(); ++d) {
      common.Add(static_cast<uint64_t>(input.shape()[d]));
    }
    if (!row_inputs_[i]) common.Add(input.bytes());
  }
  const Digest request = common.Finish();

  absl::InlinedVector<Digest, 1> digests;
  digests.reserve(static_cast<size_t>(rows));
  for (uint64_t row = 0; row < static_cast<uint64_t>(rows); ++row) {
    Hasher hasher;
    hasher.Add(request);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!row_inputs_[i]) continue;
      const Tensor& input = inputs[i];
      if (input.dtype() == DType::kString) {
        AddStrings(input, row, input.num_elements() / static_cast<uint64_t>(rows), hasher);
      } else {
        const size_t size = input.bytes().size() / static_cast<size_t>(rows);
        hasher.Add(input.bytes().substr(row * size, size));
      }
    }
    digests.push_back(hasher.Finish());
  }
  return digests;
}

}  // namespace portico
