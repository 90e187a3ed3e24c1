#include "result_cache/row_answer.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "base/rows.h"
#include "result_cache/heap_bytes.h"

namespace portico {
namespace {

/// Of a tensor's memory beside its bytes: what counts its owners, to the next multiple of its alignment.
constexpr uint64_t kTensorHeaderBytes = 64;
/// An aligned block is cut out of one that is larger by so much, which returns to the allocator in pieces.
constexpr uint64_t kAlignmentBytes = 80;

}  // namespace

RowAnswer::RowAnswer(std::vector<Tensor> outputs) : outputs_(std::move(outputs)) {
  bytes_ = HeapBytes(sizeof(RowAnswer)) + HeapBytes(outputs_.capacity() * sizeof(Tensor));
  for (const Tensor& output : outputs_) {
    bytes_ += HeapBytes(kTensorHeaderBytes + output.bytes().size()) + kAlignmentBytes;
    if (output.shape().size() > Shape().capacity()) bytes_ += HeapBytes(output.shape().capacity() * sizeof(int64_t));
  }
}

uint64_t RowAnswer::LeastBytes(absl::Span<const Tensor> outputs, int64_t row) {
  uint64_t bytes = 0;
  for (const Tensor& output : outputs) {
    const auto rows = static_cast<uint64_t>(output.rows());
    if (output.dtype() != DType::kString) {
      bytes += output.bytes().size() / rows;
      continue;
    }
    const uint64_t elements = output.num_elements() / rows;
    const uint64_t first = static_cast<uint64_t>(row) * elements;
    for (uint64_t element = first; element < first + elements; ++element) bytes += output.StringAt(element).size();
  }
  return bytes;
}

Ref<const RowAnswer> RowAnswer::Of(absl::Span<const Tensor> outputs, int64_t row) {
  std::vector<Tensor> own;
  own.reserve(outputs.size());
  for (const Tensor& output : outputs) {
    Tensor slice = output.Slice(row, 1);
    // Strings were copied already.
    own.push_back(slice.dtype() == DType::kString ? std::move(slice)
                                                  : Tensor::CopyOf(slice.dtype(), slice.shape(), slice.bytes()));
  }
  return Ref<const RowAnswer>(new RowAnswer(std::move(own)));
}

bool RowAnswer::HasRows(absl::Span<const Tensor> outputs, int64_t rows) {
  return absl::c_all_of(outputs, [&](const Tensor& output) { return HasWholeRows(output) && output.rows() == rows; });
}

std::optional<std::vector<Tensor>> RowAnswer::Join(absl::Span<const Ref<const RowAnswer>> rows) {
  const RowAnswer& first = *rows[0];
  std::vector<Tensor> joined;
  joined.reserve(first.outputs_.size());
  std::vector<Tensor> parts;
  parts.reserve(rows.size());
  for (size_t output = 0; output < first.outputs_.size(); ++output) {
    const Tensor& like = first.outputs_[output];
    parts.clear();
    for (const Ref<const RowAnswer>& row : rows) {
      const Tensor& part = row->outputs_[output];
      if (part.dtype() != like.dtype() || part.shape() != like.shape()) return std::nullopt;
      parts.push_back(part);
    }
    joined.push_back(ConcatRows(parts));
  }
  return joined;
}

}  // namespace portico
