#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/dtype.h"
#include "base/ref.h"

namespace portico {

/// Extents of a tensor, outermost first; empty for a scalar.
using Shape = absl::InlinedVector<int64_t, 4>;

/// "[2,3]"; −1 is written "?".
std::string ShapeString(absl::Span<const int64_t> shape);

/// Product of the extents (1 for a scalar). INVALID_ARGUMENT when one is negative or the product exceeds 2^59.
absl::StatusOr<uint64_t> NumElements(absl::Span<const int64_t> shape);

/// Owns the memory that tensors view: a heap block, a received message, a mapped file, an ONNX Runtime value.
/// `held_bytes` is what staying alive costs. Destroyed on whichever thread drops the last view.
class TensorOrigin : public RefCounted {
 public:
  explicit TensorOrigin(uint64_t held_bytes) : held_bytes_(held_bytes) {}
  uint64_t held_bytes() const { return held_bytes_; }

 private:
  const uint64_t held_bytes_;
};

/// An immutable view of a dense, row-major, little-endian array, with shared ownership of the memory behind it.
///
/// A value: copying shares the bytes. Const methods are thread-safe. Bytes may be written through mutable_bytes() only
/// while the tensor that Allocate() returned is the sole view.
///
/// Strings are kept as they travel: u64 offsets, one more than elements, the first 0, each the end of the element
/// before; then the bytes of all elements. Every Tensor of strings has been checked to be of that form.
class Tensor {
 public:
  /// Holds nothing: dtype kInvalid.
  Tensor() = default;

  /// A view of `bytes`, which `origin` keeps alive. INVALID_ARGUMENT when the length is not what dtype and shape take,
  /// or when string offsets are not of the form above. Does not copy.
  static absl::StatusOr<Tensor> View(DType dtype, Shape shape, absl::string_view bytes, Ref<TensorOrigin> origin);

  /// New, uninitialised, 64-byte aligned memory. REQUIRES: dtype is not kString; the size was checked against a limit.
  static Tensor Allocate(DType dtype, Shape shape);

  /// A copy of `values`. REQUIRES: as many as the shape takes.
  template <typename T>
  static Tensor Of(Shape shape, absl::Span<const T> values) {
    return CopyOf(DTypeOf<T>(), std::move(shape),
                  absl::string_view(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)));
  }
  template <typename T>
  static Tensor Of(Shape shape, std::initializer_list<T> values) {
    return Of<T>(std::move(shape), absl::Span<const T>(values.begin(), values.size()));
  }
  /// A copy of `bytes`. REQUIRES: they fit dtype and shape.
  static Tensor CopyOf(DType dtype, Shape shape, absl::string_view bytes);

  /// REQUIRES: as many values as the shape takes.
  static Tensor OfStrings(Shape shape, absl::Span<const absl::string_view> values);
  static Tensor OfStrings(Shape shape, absl::Span<const std::string> values);

  bool valid() const { return dtype_ != DType::kInvalid; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  uint64_t num_elements() const;
  /// Extent of dim 0; 1 for a scalar.
  int64_t rows() const { return shape_.empty() ? 1 : shape_[0]; }

  /// All of the data, as it travels.
  absl::string_view bytes() const { return {data_, size_}; }
  /// REQUIRES: made by Allocate() and not shared since.
  char* mutable_bytes() { return const_cast<char*>(data_); }
  /// Elements as T. REQUIRES: dtype is T's, and aligned().
  template <typename T>
  absl::Span<const T> data() const {
    CheckAccess(DTypeOf<T>());
    return absl::Span<const T>(reinterpret_cast<const T*>(data_), static_cast<size_t>(num_elements()));
  }
  /// Element `index` of a tensor of strings; valid as long as the tensor.
  absl::string_view StringAt(uint64_t index) const;

  /// Whether the address suits the dtype; what comes off a wire need not.
  bool aligned() const { return reinterpret_cast<uintptr_t>(data_) % AlignmentOf(dtype_) == 0; }
  /// This tensor where aligned, else a copy that is.
  Tensor Aligned() const;
  /// This tensor, or a copy when it is much smaller than what it would keep alive (16 times, and over 64 KiB).
  Tensor Unpinned() const;
  /// The same bytes under another shape. INVALID_ARGUMENT when the number of elements differs.
  absl::StatusOr<Tensor> Reshaped(Shape shape) const;
  /// Rows [begin, begin + count) of dim 0, sharing memory (strings are copied). REQUIRES: in range, rank ≥ 1, elements
  /// of a row fill whole bytes.
  Tensor Slice(int64_t begin, int64_t count) const;

  /// Memory shared with its origin; null for a tensor without bytes of its own.
  const Ref<TensorOrigin>& origin() const { return origin_; }

 private:
  void CheckAccess(DType wanted) const;

  DType dtype_ = DType::kInvalid;
  Shape shape_;
  const char* data_ = nullptr;
  size_t size_ = 0;
  Ref<TensorOrigin> origin_;
};

/// `parts` joined along dim 0 with exactly one copy. REQUIRES: at least one part; same dtype and same inner shape, rank
/// ≥ 1 (the caller checked). A single part is returned as it is.
Tensor ConcatRows(absl::Span<const Tensor> parts);

/// A tensor and the name it has in a signature.
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

}  // namespace portico
