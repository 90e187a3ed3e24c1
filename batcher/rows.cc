#include "batcher/rows.h"

#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"

namespace portico {
namespace {

absl::Span<const int64_t> InnerShape(const Tensor& tensor) { return absl::MakeConstSpan(tensor.shape()).subspan(1); }

/// Whether rows of `tensor` begin at whole bytes.
bool HasWholeRows(const Tensor& tensor) {
  if (tensor.shape().empty()) return false;
  uint64_t elements = 1;
  for (const int64_t extent : InnerShape(tensor)) elements *= static_cast<uint64_t>(extent);
  return elements * static_cast<uint64_t>(BitsPerElement(tensor.dtype())) % 8 == 0;
}

}  // namespace

std::optional<int64_t> JoinableRows(absl::Span<const Tensor> inputs, const RowInputs& row_inputs) {
  std::optional<int64_t> rows;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!row_inputs[i]) continue;
    if (!HasWholeRows(inputs[i]) || (rows.has_value() && *rows != inputs[i].rows())) return std::nullopt;
    rows = inputs[i].rows();
  }
  return rows;
}

uint64_t JoinHash(absl::Span<const Tensor> inputs, const RowInputs& row_inputs) {
  uint64_t hash = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& input = inputs[i];
    hash = row_inputs[i] ? absl::HashOf(hash, input.dtype(), InnerShape(input))
                         : absl::HashOf(hash, input.dtype(), absl::MakeConstSpan(input.shape()), input.bytes());
  }
  return hash;
}

bool CanJoin(absl::Span<const Tensor> a, absl::Span<const Tensor> b, const RowInputs& row_inputs) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].dtype() != b[i].dtype()) return false;
    if (row_inputs[i]) {
      if (InnerShape(a[i]) != InnerShape(b[i])) return false;
    } else if (a[i].shape() != b[i].shape() || a[i].bytes() != b[i].bytes()) {
      return false;
    }
  }
  return true;
}

std::vector<Tensor> GatherRows(absl::Span<const absl::Span<const Tensor>> calls, const RowInputs& row_inputs) {
  std::vector<Tensor> joined;
  joined.reserve(row_inputs.size());
  std::vector<Tensor> parts;
  parts.reserve(calls.size());
  for (size_t input = 0; input < row_inputs.size(); ++input) {
    if (!row_inputs[input]) {
      joined.push_back(calls[0][input]);
      continue;
    }
    parts.clear();
    for (const absl::Span<const Tensor> call : calls) parts.push_back(call[input]);
    joined.push_back(ConcatRows(parts));
  }
  return joined;
}

bool CanScatter(absl::Span<const Tensor> outputs, int64_t rows) {
  for (const Tensor& output : outputs) {
    if (!HasWholeRows(output) || output.rows() != rows) return false;
  }
  return true;
}

std::vector<Tensor> ScatterRows(absl::Span<const Tensor> outputs, int64_t begin, int64_t count) {
  std::vector<Tensor> part;
  part.reserve(outputs.size());
  for (const Tensor& output : outputs) part.push_back(output.Slice(begin, count).Unpinned());
  return part;
}

}  // namespace portico
