#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "base/digest.h"
#include "base/ref.h"
#include "base/tensor.h"

namespace portico {

/// The outputs of one row, in one block of memory: what the store that keeps it knows of it, what the outputs are, and
/// their bytes. Shared by who keeps it and by the tensors that view it; what they see never changes.
class RowAnswer final : public TensorOrigin {
 public:
  /// A copy of row `row`. REQUIRES: HasRows(outputs, more than `row`).
  static Ref<const RowAnswer> Of(absl::Span<const Tensor> outputs, int64_t row);
  /// bytes() of such a copy, without making it. REQUIRES: as Of().
  static uint64_t BytesFor(absl::Span<const Tensor> outputs, int64_t row);
  /// Whether each output has `rows` rows that can be taken apart.
  static bool HasRows(absl::Span<const Tensor> outputs, int64_t rows);

  /// All rows together, as outputs of one run would be; nothing where dtypes or inner shapes differ. One row is viewed,
  /// not copied. REQUIRES: at least one row, none null.
  static std::optional<std::vector<Tensor>> Join(absl::Span<const Ref<const RowAnswer>> rows);

  /// Memory that it takes, what allocating it costs included.
  uint64_t bytes() const { return held_bytes(); }

 private:
  friend class AnswerStore;

  /// Of the store that keeps it, under a lock of that.
  struct Place {
    Digest row;
    RowAnswer* next_in_chain = nullptr;
    Ref<RowAnswer> next_in_queue;
    /// How often it was asked for since it came, or since it was last passed by.
    uint8_t asked = 0;
  };
  /// What lies behind this object: one for each output, then their extents, then their bytes.
  struct Output {
    DType dtype;
    size_t rank;
    /// From the start of the block.
    size_t shape_at;
    size_t bytes_at;
    size_t size;
  };

  static uint64_t SizeFor(absl::Span<const Tensor> outputs, int64_t row);

  /// Memory without an answer in it.
  struct FreeBlock {
    void operator()(char* block) const { ::operator delete(block); }
  };
  using Block = std::unique_ptr<char, FreeBlock>;
  /// Lets go of `answer`. Returns its memory where nobody else owned it.
  static Block Reclaim(Ref<RowAnswer> answer);
  /// As Of(), in `block`, which an answer of as many bytes() left, or in new memory.
  static Ref<RowAnswer> In(Block block, absl::Span<const Tensor> outputs, int64_t row);

  RowAnswer(uint64_t bytes, size_t outputs) : TensorOrigin(bytes), outputs_(outputs) {}
  ~RowAnswer() override = default;
  void Destroy() const override;

  char* At(size_t offset) { return reinterpret_cast<char*>(this) + offset; }
  const char* At(size_t offset) const { return reinterpret_cast<const char*>(this) + offset; }
  absl::Span<const Output> outputs() const;
  absl::Span<const int64_t> ShapeOf(const Output& output) const;
  absl::string_view BytesOf(const Output& output) const { return {At(output.bytes_at), output.size}; }
  Tensor ViewOf(const Output& output) const;

  const size_t outputs_;
  Place place_;
};

}  // namespace portico
