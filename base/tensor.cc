#include "base/tensor.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace portico {
namespace {

constexpr uint64_t kMaxElements = uint64_t{1} << 59;
constexpr size_t kHeapAlignment = 64;

/// Its bytes follow it in one allocation, at the next multiple of 64.
class HeapOrigin final : public TensorOrigin {
 public:
  static HeapOrigin* Make(size_t bytes) {
    void* block = ::operator new (kHeaderBytes + bytes, std::align_val_t{kHeapAlignment});
    return new (block) HeapOrigin(bytes);
  }
  char* bytes() { return reinterpret_cast<char*>(this) + kHeaderBytes; }

 private:
  static constexpr size_t kHeaderBytes = kHeapAlignment;
  explicit HeapOrigin(size_t bytes) : TensorOrigin(bytes) { static_assert(sizeof(HeapOrigin) <= kHeaderBytes); }
  void Destroy() const override {
    auto* self = const_cast<HeapOrigin*>(this);
    self->~HeapOrigin();
    ::operator delete (static_cast<void*>(self), std::align_val_t{kHeapAlignment});
  }
};

uint64_t LoadOffset(const char* data, uint64_t index) {
  uint64_t offset;
  std::memcpy(&offset, data + index * sizeof(offset), sizeof(offset));
  return offset;
}

absl::Status CheckStrings(absl::string_view bytes, uint64_t elements) {
  const uint64_t table = (elements + 1) * sizeof(uint64_t);
  if (bytes.size() < table) {
    return absl::InvalidArgumentError(absl::StrCat("string tensor: got ", bytes.size(), " bytes, want at least ", table,
                                                   " for the offsets of ", elements, " elements"));
  }
  const uint64_t payload = bytes.size() - table;
  uint64_t previous = LoadOffset(bytes.data(), 0);
  if (previous != 0) {
    return absl::InvalidArgumentError(absl::StrCat("string tensor: got first offset ", previous, ", want 0"));
  }
  for (uint64_t i = 1; i <= elements; ++i) {
    const uint64_t offset = LoadOffset(bytes.data(), i);
    if (offset < previous || offset > payload) {
      return absl::InvalidArgumentError(
          absl::StrCat("string tensor: got offset ", offset, " at element ", i, ", want ", previous, " to ", payload));
    }
    previous = offset;
  }
  if (previous != payload) {
    return absl::InvalidArgumentError(
        absl::StrCat("string tensor: got ", payload, " bytes of text, want ", previous, " as the last offset says"));
  }
  return absl::OkStatus();
}

template <typename S>
Tensor MakeStrings(Shape shape, absl::Span<const S> values, Tensor (*view)(Shape, HeapOrigin*, size_t)) {
  size_t text = 0;
  for (const S& value : values) text += value.size();
  const size_t table = (values.size() + 1) * sizeof(uint64_t);
  HeapOrigin* origin = HeapOrigin::Make(table + text);
  char* out = origin->bytes();
  uint64_t offset = 0;
  std::memcpy(out, &offset, sizeof(offset));
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values[i].empty()) std::memcpy(out + table + offset, values[i].data(), values[i].size());
    offset += values[i].size();
    std::memcpy(out + (i + 1) * sizeof(offset), &offset, sizeof(offset));
  }
  return view(std::move(shape), origin, table + text);
}

uint64_t ElementsOf(absl::Span<const int64_t> shape) {
  uint64_t elements = 1;
  for (const int64_t extent : shape) elements *= static_cast<uint64_t>(extent);
  return elements;
}

}  // namespace

std::string ShapeString(absl::Span<const int64_t> shape) {
  return absl::StrCat(
      "[",
      absl::StrJoin(shape, ",",
                    [](std::string* out, int64_t d) { absl::StrAppend(out, d < 0 ? "?" : absl::StrCat(d)); }),
      "]");
}

absl::StatusOr<uint64_t> NumElements(absl::Span<const int64_t> shape) {
  uint64_t elements = 1;
  bool zero = false;
  for (const int64_t extent : shape) {
    if (extent < 0) {
      return absl::InvalidArgumentError(absl::StrCat("shape: got ", ShapeString(shape), ", want no negative extent"));
    }
    if (extent == 0) {
      zero = true;
    } else if (elements > kMaxElements / static_cast<uint64_t>(extent)) {
      return absl::InvalidArgumentError(
          absl::StrCat("shape: got ", ShapeString(shape), ", want at most 2^59 elements"));
    } else {
      elements *= static_cast<uint64_t>(extent);
    }
  }
  return zero ? 0 : elements;
}

absl::StatusOr<Tensor> Tensor::View(DType dtype, Shape shape, absl::string_view bytes, Ref<TensorOrigin> origin) {
  ASSIGN_OR_RETURN(const uint64_t elements, NumElements(shape));
  if (dtype == DType::kInvalid) return absl::InvalidArgumentError("tensor: got dtype invalid, want a type of ONNX");
  if (dtype == DType::kString) {
    RETURN_IF_ERROR(CheckStrings(bytes, elements));
  } else if (const uint64_t want = BytesFor(dtype, elements); bytes.size() != want) {
    return absl::InvalidArgumentError(absl::StrCat("tensor: got ", bytes.size(), " bytes, want ", want, " for ",
                                                   DTypeName(dtype), ShapeString(shape)));
  }
  Tensor tensor;
  tensor.dtype_ = dtype;
  tensor.shape_ = std::move(shape);
  tensor.data_ = bytes.data();
  tensor.size_ = bytes.size();
  tensor.origin_ = std::move(origin);
  return tensor;
}

Tensor Tensor::Allocate(DType dtype, Shape shape) {
  PORTICO_CHECK(dtype != DType::kString && dtype != DType::kInvalid);
  Tensor tensor;
  tensor.size_ = BytesFor(dtype, ElementsOf(shape));
  HeapOrigin* origin = HeapOrigin::Make(tensor.size_);
  tensor.dtype_ = dtype;
  tensor.shape_ = std::move(shape);
  tensor.data_ = origin->bytes();
  tensor.origin_ = Ref<TensorOrigin>(origin);
  return tensor;
}

Tensor Tensor::CopyOf(DType dtype, Shape shape, absl::string_view bytes) {
  if (dtype == DType::kString) {
    HeapOrigin* origin = HeapOrigin::Make(bytes.size());
    std::memcpy(origin->bytes(), bytes.data(), bytes.size());
    auto view = View(dtype, std::move(shape), {origin->bytes(), bytes.size()}, Ref<TensorOrigin>(origin));
    PORTICO_CHECK(view.ok());
    return *std::move(view);
  }
  Tensor tensor = Allocate(dtype, std::move(shape));
  PORTICO_CHECK(tensor.size_ == bytes.size());
  if (!bytes.empty()) std::memcpy(tensor.mutable_bytes(), bytes.data(), bytes.size());
  return tensor;
}

namespace {

template <typename S>
Tensor StringTensor(Shape shape, absl::Span<const S> values) {
  PORTICO_CHECK(values.size() == ElementsOf(shape));
  return MakeStrings<S>(
      std::move(shape), values, +[](Shape s, HeapOrigin* origin, size_t size) {
        auto view = Tensor::View(DType::kString, std::move(s), {origin->bytes(), size}, Ref<TensorOrigin>(origin));
        PORTICO_CHECK(view.ok());
        return *std::move(view);
      });
}

}  // namespace

Tensor Tensor::OfStrings(Shape shape, absl::Span<const absl::string_view> values) {
  return StringTensor(std::move(shape), values);
}

Tensor Tensor::OfStrings(Shape shape, absl::Span<const std::string> values) {
  return StringTensor(std::move(shape), values);
}

uint64_t Tensor::num_elements() const { return ElementsOf(shape_); }

absl::string_view Tensor::StringAt(uint64_t index) const {
  PORTICO_CHECK(dtype_ == DType::kString);
  const uint64_t elements = num_elements();
  PORTICO_CHECK(index < elements);
  const uint64_t begin = LoadOffset(data_, index);
  const uint64_t end = LoadOffset(data_, index + 1);
  return {data_ + (elements + 1) * sizeof(uint64_t) + begin, static_cast<size_t>(end - begin)};
}

Tensor Tensor::Aligned() const { return aligned() ? *this : CopyOf(dtype_, shape_, bytes()); }

Tensor Tensor::Unpinned() const {
  constexpr uint64_t kSmallOrigin = 64 << 10;
  if (!origin_ || origin_->held_bytes() <= kSmallOrigin || origin_->held_bytes() / 16 < size_) return *this;
  return CopyOf(dtype_, shape_, bytes());
}

absl::StatusOr<Tensor> Tensor::Reshaped(Shape shape) const {
  ASSIGN_OR_RETURN(const uint64_t elements, NumElements(shape));
  if (elements != num_elements()) {
    return absl::InvalidArgumentError(absl::StrCat("reshape: got ", ShapeString(shape), ", want the ", num_elements(),
                                                   " elements of ", ShapeString(shape_)));
  }
  Tensor result = *this;
  result.shape_ = std::move(shape);
  return result;
}

Tensor Tensor::Slice(int64_t begin, int64_t count) const {
  PORTICO_CHECK(!shape_.empty() && begin >= 0 && count >= 0 && begin + count <= shape_[0]);
  Shape shape = shape_;
  shape[0] = count;
  const uint64_t row_elements = shape_[0] == 0 ? 0 : num_elements() / static_cast<uint64_t>(shape_[0]);
  if (dtype_ == DType::kString) {
    std::vector<absl::string_view> values;
    values.reserve(count * row_elements);
    for (uint64_t i = begin * row_elements; i < (begin + count) * row_elements; ++i) values.push_back(StringAt(i));
    return OfStrings(std::move(shape), absl::Span<const absl::string_view>(values));
  }
  const uint64_t row_bits = row_elements * BitsPerElement(dtype_);
  PORTICO_CHECK(row_bits % 8 == 0);
  Tensor result = *this;
  result.shape_ = std::move(shape);
  result.data_ = data_ + begin * (row_bits / 8);
  result.size_ = count * (row_bits / 8);
  return result;
}

void Tensor::CheckAccess(DType wanted) const { PORTICO_CHECK(dtype_ == wanted && aligned()); }

Tensor ConcatRows(absl::Span<const Tensor> parts) {
  PORTICO_CHECK(!parts.empty());
  if (parts.size() == 1) return parts[0];
  Shape shape = parts[0].shape();
  shape[0] = 0;
  for (const Tensor& part : parts) shape[0] += part.shape()[0];
  if (parts[0].dtype() == DType::kString) {
    std::vector<absl::string_view> values;
    for (const Tensor& part : parts) {
      const uint64_t elements = part.num_elements();
      for (uint64_t i = 0; i < elements; ++i) values.push_back(part.StringAt(i));
    }
    return Tensor::OfStrings(std::move(shape), absl::Span<const absl::string_view>(values));
  }
  Tensor joined = Tensor::Allocate(parts[0].dtype(), std::move(shape));
  char* out = joined.mutable_bytes();
  for (const Tensor& part : parts) {
    if (part.bytes().empty()) continue;
    std::memcpy(out, part.bytes().data(), part.bytes().size());
    out += part.bytes().size();
  }
  return joined;
}

}  // namespace portico
