#include "batcher/rows.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"
#include "base/check.h"
#include "base/rows.h"
#include "batcher/ragged_rows.h"

namespace portico {
namespace {

absl::Span<const int64_t> InnerShape(const Tensor& tensor) { return absl::MakeConstSpan(tensor.shape()).subspan(1); }

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

JoinRule JoinRule::Of(const Batcher::Options& options) {
  JoinRule rule;
  for (const bool rows : options.row_inputs) rule.roles.push_back(rows ? Role::kRows : Role::kShared);
  rule.ragged = options.ragged;
  rule.pad_inner = options.pad_inner;
  for (const RaggedInput& ragged : rule.ragged) {
    rule.roles[ragged.values] = Role::kValues;
    rule.roles[ragged.partition] = ragged.kind == RowPartition::kRowLengths ? Role::kRows : Role::kPartition;
  }
  // A run has at most so many calls, each with at least a row (or a weight of one), and padding up to the largest size.
  int64_t rows = options.max_batch_rows;
  if (!options.allowed_batch_rows.empty()) rows = std::max(rows, options.allowed_batch_rows.back());
  rule.max_int32_values = std::numeric_limits<int32_t>::max() / (2 * rows);
  return rule;
}

const RaggedInput& JoinRule::RaggedOf(size_t input) const {
  const auto found = std::find_if(ragged.begin(), ragged.end(), [&](const RaggedInput& candidate) {
    return candidate.values == input || candidate.partition == input;
  });
  PORTICO_CHECK(found != ragged.end());
  return *found;
}

std::optional<int64_t> JoinableRows(absl::Span<const Tensor> inputs, const JoinRule& rule) {
  int64_t rows = -1;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (rule.roles[i] == JoinRule::Role::kShared) continue;
    if (!HasWholeRows(inputs[i])) return std::nullopt;
    if (rule.roles[i] != JoinRule::Role::kRows) continue;
    if (rows >= 0 && rows != inputs[i].rows()) return std::nullopt;
    rows = inputs[i].rows();
  }
  for (const RaggedInput& ragged : rule.ragged) {
    const int64_t own = RowsOfPartition(ragged.kind, inputs[ragged.partition]);
    if (own < 0) continue;
    if (rows >= 0 && rows != own) return std::nullopt;
    rows = own;
  }
  if (rows < 0) return std::nullopt;
  for (const RaggedInput& ragged : rule.ragged) {
    const Tensor& partition = inputs[ragged.partition];
    const int64_t values = inputs[ragged.values].rows();
    if (!CheckRowPartition(ragged.kind, partition, values, rows).ok()) return std::nullopt;
    if (partition.dtype() == DType::kInt32 && values > rule.max_int32_values) return std::nullopt;
  }
  return rows;
}

uint64_t JoinHash(absl::Span<const Tensor> inputs, const JoinRule& rule) {
  uint64_t hash = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& input = inputs[i];
    if (rule.roles[i] == JoinRule::Role::kShared) {
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
    if (rule.roles[i] != JoinRule::Role::kShared) {
      if (InnerShape(a[i]) == InnerShape(b[i])) continue;
      const bool padded = rule.pad_inner && CanPad(a[i]) && CanPad(b[i]) && a[i].shape().size() == b[i].shape().size();
      if (!padded) return false;
    } else if (a[i].shape() != b[i].shape() || a[i].bytes() != b[i].bytes()) {
      return false;
    }
  }
  return true;
}

std::vector<Tensor> GatherRows(absl::Span<const CallRows> calls, const JoinRule& rule, int64_t padding) {
  if (calls.size() == 1 && padding == 0) return {calls[0].inputs.begin(), calls[0].inputs.end()};
  const auto filled = std::find_if(calls.begin(), calls.end(), [](const CallRows& call) { return call.rows > 0; });
  PORTICO_CHECK(padding == 0 || filled != calls.end());
  /// Of the row that padding repeats.
  const auto padding_values = [&](const RaggedInput& ragged) {
    return padding == 0 ? 0
                        : ValuesOfRows(ragged.kind, filled->inputs[ragged.partition],
                                       filled->inputs[ragged.values].rows(), 0, 0, 1);
  };
  std::vector<Tensor> joined;
  joined.reserve(rule.roles.size());
  std::vector<Tensor> parts;
  parts.reserve(calls.size() + static_cast<size_t>(padding));
  std::vector<RaggedRows> partitions;
  for (size_t input = 0; input < rule.roles.size(); ++input) {
    if (rule.roles[input] == JoinRule::Role::kShared) {
      joined.push_back(calls[0].inputs[input]);
      continue;
    }
    if (rule.roles[input] == JoinRule::Role::kPartition) {
      const RaggedInput& ragged = rule.RaggedOf(input);
      partitions.clear();
      for (const CallRows& call : calls) {
        partitions.push_back({call.inputs[input], call.inputs[ragged.values].rows(), call.rows});
      }
      joined.push_back(JoinPartitions(ragged.kind, partitions, padding, padding_values(ragged)));
      continue;
    }
    Shape shape = calls[0].inputs[input].shape();
    for (const CallRows& call : calls) {
      for (size_t d = 1; d < shape.size(); ++d) shape[d] = std::max(shape[d], call.inputs[input].shape()[d]);
    }
    parts.clear();
    for (const CallRows& call : calls) {
      const Tensor& part = call.inputs[input];
      const bool fits = InnerShape(part) == absl::MakeConstSpan(shape).subspan(1);
      parts.push_back(fits ? part : PadInner(part, shape));
    }
    if (padding > 0) {
      const int64_t size = rule.roles[input] == JoinRule::Role::kRows ? 1 : padding_values(rule.RaggedOf(input));
      const Tensor first = parts[static_cast<size_t>(filled - calls.begin())].Slice(0, size);
      parts.insert(parts.end(), static_cast<size_t>(padding), first);
    }
    joined.push_back(ConcatRows(parts));
  }
  return joined;
}

std::vector<std::vector<Tensor>> SplitRows(const CallRows& call, const JoinRule& rule, int64_t piece_rows) {
  std::vector<std::vector<Tensor>> pieces;
  // Where the next piece's values begin, per ragged input.
  std::vector<int64_t> first(rule.ragged.size(), 0);
  for (int64_t begin = 0; begin < call.rows; begin += piece_rows) {
    const int64_t count = std::min(piece_rows, call.rows - begin);
    std::vector<Tensor> piece(call.inputs.begin(), call.inputs.end());
    for (size_t i = 0; i < piece.size(); ++i) {
      if (rule.roles[i] == JoinRule::Role::kRows) piece[i] = call.inputs[i].Slice(begin, count);
    }
    for (size_t r = 0; r < rule.ragged.size(); ++r) {
      const RaggedInput& ragged = rule.ragged[r];
      const Tensor& partition = call.inputs[ragged.partition];
      const int64_t values =
          ValuesOfRows(ragged.kind, partition, call.inputs[ragged.values].rows(), first[r], begin, count);
      piece[ragged.values] = call.inputs[ragged.values].Slice(first[r], values);
      if (ragged.kind != RowPartition::kRowLengths) {
        piece[ragged.partition] = CutPartition(ragged.kind, partition, begin, count, first[r], values);
      }
      first[r] += values;
    }
    pieces.push_back(std::move(piece));
  }
  return pieces;
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
