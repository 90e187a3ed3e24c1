#include "batcher/rows.h"

#include <algorithm>
#include <cstring>
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

/// Whether a tensor with rows can be made larger by PadInner().
bool CanPad(const Tensor& tensor) {
  return tensor.dtype() != DType::kString && BitsPerElement(tensor.dtype()) % 8 == 0 && tensor.num_elements() > 0;
}

/// `tensor` in the corner of one with the inner extents of `shape`, the rest filled with its first element.
Tensor PadInner(const Tensor& tensor, Shape shape) {
  const auto size = static_cast<size_t>(BitsPerElement(tensor.dtype()) / 8);
  shape[0] = tensor.rows();
  Tensor padded = Tensor::Allocate(tensor.dtype(), shape);
  char* const to = padded.mutable_bytes();
  const char* from = tensor.bytes().data();
  for (size_t at = 0; at < padded.bytes().size(); at += size) std::memcpy(to + at, from, size);
  // Lines of the last dim are copied; `line` counts through the dims before it.
  const size_t inner = shape.size() - 1;
  const auto width = static_cast<size_t>(tensor.shape()[inner]);
  Shape line(inner, 0);
  while (true) {
    size_t offset = 0;
    for (size_t d = 0; d < inner; ++d) offset = offset * static_cast<size_t>(shape[d]) + static_cast<size_t>(line[d]);
    std::memcpy(to + offset * static_cast<size_t>(shape[inner]) * size, from, width * size);
    from += width * size;
    size_t d = inner;
    while (d > 0 && ++line[d - 1] == tensor.shape()[d - 1]) line[--d] = 0;
    if (d == 0) return padded;
  }
}

}  // namespace

std::optional<int64_t> JoinableRows(absl::Span<const Tensor> inputs, const JoinRule& rule) {
  std::optional<int64_t> rows;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!rule.row_inputs[i]) continue;
    if (!HasWholeRows(inputs[i]) || (rows.has_value() && *rows != inputs[i].rows())) return std::nullopt;
    rows = inputs[i].rows();
  }
  return rows;
}

uint64_t JoinHash(absl::Span<const Tensor> inputs, const JoinRule& rule) {
  uint64_t hash = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& input = inputs[i];
    if (!rule.row_inputs[i]) {
      hash = absl::HashOf(hash, input.dtype(), absl::MakeConstSpan(input.shape()), input.bytes());
    } else if (rule.pad_inner && CanPad(input)) {
      hash = absl::HashOf(hash, input.dtype(), input.shape().size());
    } else {
      hash = absl::HashOf(hash, input.dtype(), InnerShape(input));
    }
  }
  return hash;
}

bool CanJoin(absl::Span<const Tensor> a, absl::Span<const Tensor> b, const JoinRule& rule) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].dtype() != b[i].dtype()) return false;
    if (rule.row_inputs[i]) {
      if (InnerShape(a[i]) == InnerShape(b[i])) continue;
      const bool padded = rule.pad_inner && CanPad(a[i]) && CanPad(b[i]) && a[i].shape().size() == b[i].shape().size();
      if (!padded) return false;
    } else if (a[i].shape() != b[i].shape() || a[i].bytes() != b[i].bytes()) {
      return false;
    }
  }
  return true;
}

std::vector<Tensor> GatherRows(absl::Span<const absl::Span<const Tensor>> calls, const JoinRule& rule,
                               int64_t padding) {
  std::vector<Tensor> joined;
  joined.reserve(rule.row_inputs.size());
  std::vector<Tensor> parts;
  parts.reserve(calls.size() + static_cast<size_t>(padding));
  for (size_t input = 0; input < rule.row_inputs.size(); ++input) {
    if (!rule.row_inputs[input]) {
      joined.push_back(calls[0][input]);
      continue;
    }
    Shape shape = calls[0][input].shape();
    for (const absl::Span<const Tensor> call : calls) {
      for (size_t d = 1; d < shape.size(); ++d) shape[d] = std::max(shape[d], call[input].shape()[d]);
    }
    parts.clear();
    for (const absl::Span<const Tensor> call : calls) {
      const bool fits = InnerShape(call[input]) == absl::MakeConstSpan(shape).subspan(1);
      parts.push_back(fits ? call[input] : PadInner(call[input], shape));
    }
    if (padding > 0) {
      const auto filled = std::find_if(parts.begin(), parts.end(), [](const Tensor& part) { return part.rows() > 0; });
      const Tensor first = filled->Slice(0, 1);
      parts.insert(parts.end(), static_cast<size_t>(padding), first);
    }
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

std::vector<Tensor> ScatterRows(absl::Span<const Tensor> tensors, int64_t begin, int64_t count) {
  std::vector<Tensor> part;
  part.reserve(tensors.size());
  for (const Tensor& tensor : tensors) part.push_back(tensor.Slice(begin, count).Unpinned());
  return part;
}

}  // namespace portico
