#include "result_cache/row_answer.h"

#include <cstring>
#include <new>
#include <utility>

#include "absl/algorithm/container.h"
#include "base/check.h"
#include "base/rows.h"
#include "result_cache/heap_bytes.h"

namespace portico {
namespace {

/// Suits every dtype, and what copies them.
constexpr size_t kAlignment = 16;

size_t Aligned(size_t offset) { return (offset + kAlignment - 1) / kAlignment * kAlignment; }

/// A row of an output, where it lies.
class Row {
 public:
  Row(const Tensor& output, int64_t row) : output_(output) {
    const auto rows = static_cast<uint64_t>(output.rows());
    if (output.dtype() != DType::kString) {
      const size_t size = output.bytes().size() / rows;
      bytes_ = output.bytes().substr(static_cast<uint64_t>(row) * size, size);
      return;
    }
    elements_ = output.num_elements() / rows;
    first_ = static_cast<uint64_t>(row) * elements_;
    if (elements_ == 0) return;
    const absl::string_view first = output.StringAt(first_), last = output.StringAt(first_ + elements_ - 1);
    bytes_ = {first.data(), static_cast<size_t>(last.data() + last.size() - first.data())};
  }

  size_t size() const { return TableBytes() + bytes_.size(); }
  void CopyTo(char* to) const {
    if (output_.dtype() == DType::kString) to = WriteTable(to);
    if (!bytes_.empty()) std::memcpy(to, bytes_.data(), bytes_.size());
  }

 private:
  size_t TableBytes() const { return output_.dtype() == DType::kString ? (elements_ + 1) * sizeof(uint64_t) : 0; }
  /// Ends of strings, counted from the row's first. Returns where their text goes.
  char* WriteTable(char* to) const {
    uint64_t end = 0;
    std::memcpy(to, &end, sizeof(end));
    for (uint64_t element = 0; element < elements_; ++element) {
      end += output_.StringAt(first_ + element).size();
      std::memcpy(to + (element + 1) * sizeof(end), &end, sizeof(end));
    }
    return to + TableBytes();
  }

  const Tensor& output_;
  /// Of strings: elements of the row, and the first of them.
  uint64_t elements_ = 0;
  uint64_t first_ = 0;
  /// Of strings: their text.
  absl::string_view bytes_;
};

/// Where the memory goes of an answer that Reclaim() is letting go of.
thread_local char** reclaimed = nullptr;

}  // namespace

uint64_t RowAnswer::SizeFor(absl::Span<const Tensor> outputs, int64_t row) {
  size_t size = sizeof(RowAnswer) + outputs.size() * sizeof(Output);
  for (const Tensor& output : outputs) size += output.shape().size() * sizeof(int64_t);
  for (const Tensor& output : outputs) size = Aligned(size) + Row(output, row).size();
  return size;
}

uint64_t RowAnswer::BytesFor(absl::Span<const Tensor> outputs, int64_t row) { return HeapBytes(SizeFor(outputs, row)); }

Ref<const RowAnswer> RowAnswer::Of(absl::Span<const Tensor> outputs, int64_t row) { return In(nullptr, outputs, row); }

Ref<RowAnswer> RowAnswer::In(Block block, absl::Span<const Tensor> outputs, int64_t row) {
  const uint64_t bytes = BytesFor(outputs, row);
  if (block == nullptr) block.reset(static_cast<char*>(::operator new(BlockOf(bytes))));
  Ref<RowAnswer> answer(new (block.release()) RowAnswer(bytes, outputs.size()));
  auto* const parts = reinterpret_cast<Output*>(answer->At(sizeof(RowAnswer)));
  size_t at = sizeof(RowAnswer) + outputs.size() * sizeof(Output);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Shape& shape = outputs[i].shape();
    Output* const part = new (parts + i) Output{outputs[i].dtype(), shape.size(), at};
    auto* const extents = reinterpret_cast<int64_t*>(answer->At(at));
    std::uninitialized_copy(shape.begin(), shape.end(), extents);
    extents[0] = 1;
    at += part->rank * sizeof(int64_t);
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Row from(outputs[i], row);
    parts[i].bytes_at = Aligned(at);
    parts[i].size = from.size();
    from.CopyTo(answer->At(parts[i].bytes_at));
    at = parts[i].bytes_at + parts[i].size;
  }
  return answer;
}

RowAnswer::Block RowAnswer::Reclaim(Ref<RowAnswer> answer) {
  char* block = nullptr;
  reclaimed = &block;
  answer = nullptr;
  reclaimed = nullptr;
  return Block(block);
}

void RowAnswer::Destroy() const {
  auto* const self = const_cast<RowAnswer*>(this);
  self->~RowAnswer();
  Block block(reinterpret_cast<char*>(self));
  if (reclaimed != nullptr) *reclaimed = block.release();
}

bool RowAnswer::HasRows(absl::Span<const Tensor> outputs, int64_t rows) {
  return absl::c_all_of(outputs, [&](const Tensor& output) { return HasWholeRows(output) && output.rows() == rows; });
}

absl::Span<const RowAnswer::Output> RowAnswer::outputs() const {
  return {reinterpret_cast<const Output*>(At(sizeof(RowAnswer))), outputs_};
}

absl::Span<const int64_t> RowAnswer::ShapeOf(const Output& output) const {
  return {reinterpret_cast<const int64_t*>(At(output.shape_at)), output.rank};
}

Tensor RowAnswer::ViewOf(const Output& output) const {
  const absl::Span<const int64_t> shape = ShapeOf(output);
  auto view = Tensor::View(output.dtype, Shape(shape.begin(), shape.end()), BytesOf(output),
                           Ref<TensorOrigin>(const_cast<RowAnswer*>(this)));
  PORTICO_CHECK(view.ok());
  return *std::move(view);
}

std::optional<std::vector<Tensor>> RowAnswer::Join(absl::Span<const Ref<const RowAnswer>> rows) {
  const RowAnswer& first = *rows[0];
  std::vector<Tensor> joined;
  joined.reserve(first.outputs_);
  std::vector<Tensor> parts;
  for (size_t i = 0; i < first.outputs_; ++i) {
    const Output& like = first.outputs()[i];
    if (rows.size() == 1) {
      joined.push_back(first.ViewOf(like));
      continue;
    }
    parts.clear();
    parts.reserve(rows.size());
    for (const Ref<const RowAnswer>& row : rows) {
      const Output& part = row->outputs()[i];
      if (part.dtype != like.dtype || row->ShapeOf(part) != first.ShapeOf(like)) return std::nullopt;
      parts.push_back(row->ViewOf(part));
    }
    joined.push_back(ConcatRows(parts));
  }
  return joined;
}

}  // namespace portico
