#include "base/rows.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/check.h"

namespace portico {
namespace {

uint64_t ElementsPerRow(const Tensor& tensor) {
  uint64_t elements = 1;
  for (size_t d = 1; d < tensor.shape().size(); ++d) elements *= static_cast<uint64_t>(tensor.shape()[d]);
  return elements;
}

Shape WithRows(const Tensor& tensor, size_t rows) {
  Shape shape = tensor.shape();
  shape[0] = static_cast<int64_t>(rows);
  return shape;
}

/// Writes rows one behind the other that begin at whole bytes.
class ByteRows {
 public:
  ByteRows(const Tensor& like, size_t rows)
      : row_bytes_(ElementsPerRow(like) * static_cast<uint64_t>(BitsPerElement(like.dtype())) / 8),
        result_(Tensor::Allocate(like.dtype(), WithRows(like, rows))),
        to_(result_.mutable_bytes()) {}

  void Append(const Tensor& from, int64_t first, int64_t count) {
    const size_t size = static_cast<uint64_t>(count) * row_bytes_;
    if (size == 0) return;
    std::memcpy(to_, from.bytes().data() + static_cast<uint64_t>(first) * row_bytes_, size);
    to_ += size;
  }
  Tensor Finish() { return std::move(result_); }

 private:
  const uint64_t row_bytes_;
  Tensor result_;
  char* to_;
};

/// The same for an odd number of 4-bit elements a row: packed two to a byte, the first in the low half.
class NibbleRows {
 public:
  NibbleRows(const Tensor& like, size_t rows)
      : row_elements_(ElementsPerRow(like)), result_(Tensor::Allocate(like.dtype(), WithRows(like, rows))) {
    std::memset(result_.mutable_bytes(), 0, result_.bytes().size());
  }

  void Append(const Tensor& from, int64_t first, int64_t count) {
    const absl::string_view bytes = from.bytes();
    char* const to = result_.mutable_bytes();
    uint64_t at = static_cast<uint64_t>(first) * row_elements_;
    for (const uint64_t end = at + static_cast<uint64_t>(count) * row_elements_; at < end; ++at, ++next_) {
      const int nibble = static_cast<unsigned char>(bytes[at / 2]) >> (at % 2 * 4) & 15;
      to[next_ / 2] = static_cast<char>(to[next_ / 2] | nibble << (next_ % 2 * 4));
    }
  }
  Tensor Finish() { return std::move(result_); }

 private:
  const uint64_t row_elements_;
  Tensor result_;
  uint64_t next_ = 0;
};

/// The table and the text of a tensor of strings.
struct Strings {
  explicit Strings(const Tensor& tensor)
      : table(tensor.bytes().data()), text(table + (tensor.num_elements() + 1) * sizeof(uint64_t)) {}
  uint64_t Offset(uint64_t element) const {
    uint64_t offset;
    std::memcpy(&offset, table + element * sizeof(offset), sizeof(offset));
    return offset;
  }

  const char* table;
  const char* text;
};

/// The same for strings. Of what will be appended, Expect() is told before.
class StringRows {
 public:
  StringRows(const Tensor& like, size_t rows)
      : shape_(WithRows(like, rows)), row_elements_(ElementsPerRow(like)), elements_(rows * row_elements_) {}

  void Expect(const Tensor& from, int64_t first, int64_t count) {
    const Strings strings(from);
    const uint64_t begin = static_cast<uint64_t>(first) * row_elements_;
    text_bytes_ += strings.Offset(begin + static_cast<uint64_t>(count) * row_elements_) - strings.Offset(begin);
  }
  void Begin() {
    const uint64_t table = (elements_ + 1) * sizeof(uint64_t);
    memory_ = Tensor::Allocate(DType::kUint8, {static_cast<int64_t>(table + text_bytes_)});
    table_ = memory_.mutable_bytes();
    text_ = table_ + table;
    PutOffset();
  }
  void Append(const Tensor& from, int64_t first, int64_t count) {
    const Strings strings(from);
    const uint64_t begin = static_cast<uint64_t>(first) * row_elements_;
    const uint64_t end = begin + static_cast<uint64_t>(count) * row_elements_;
    const uint64_t from_offset = strings.Offset(begin), to_offset = offset_;
    const uint64_t size = strings.Offset(end) - from_offset;
    if (size > 0) std::memcpy(text_ + offset_, strings.text + from_offset, size);
    for (uint64_t element = begin + 1; element <= end; ++element) {
      offset_ = to_offset + (strings.Offset(element) - from_offset);
      PutOffset();
    }
  }
  Tensor Finish() {
    auto strings = Tensor::View(DType::kString, std::move(shape_), memory_.bytes(), memory_.origin());
    PORTICO_CHECK(strings.ok());
    return *std::move(strings);
  }

 private:
  void PutOffset() {
    std::memcpy(table_, &offset_, sizeof(offset_));
    table_ += sizeof(offset_);
  }

  Shape shape_;
  const uint64_t row_elements_;
  const uint64_t elements_;
  uint64_t text_bytes_ = 0;
  Tensor memory_;
  char* table_ = nullptr;
  char* text_ = nullptr;
  uint64_t offset_ = 0;
};

/// Calls visit(first, count, at) for each run of rows side by side, the first of which is rows[at].
template <typename Visit>
void ForEachRun(absl::Span<const int64_t> rows, Visit visit) {
  for (size_t at = 0; at < rows.size();) {
    size_t end = at + 1;
    while (end < rows.size() && rows[end] == rows[end - 1] + 1) ++end;
    visit(rows[at], static_cast<int64_t>(end - at), static_cast<int64_t>(at));
    at = end;
  }
}

/// Lets `walk(append)` say, as (tensor, first, count), of which pieces a tensor like `like` of so many rows is made.
template <typename Walk>
Tensor Assemble(const Tensor& like, size_t rows, Walk walk) {
  const auto append_to = [](auto& out) {
    return [&out](const Tensor& from, int64_t first, int64_t count) { out.Append(from, first, count); };
  };
  if (like.dtype() == DType::kString) {
    StringRows out(like, rows);
    walk([&](const Tensor& from, int64_t first, int64_t count) { out.Expect(from, first, count); });
    out.Begin();
    walk(append_to(out));
    return out.Finish();
  }
  if (ElementsPerRow(like) * static_cast<uint64_t>(BitsPerElement(like.dtype())) % 8 != 0) {
    NibbleRows out(like, rows);
    walk(append_to(out));
    return out.Finish();
  }
  ByteRows out(like, rows);
  walk(append_to(out));
  return out.Finish();
}

/// The bytes of one NaN; empty where the type has none.
std::string_view NanOf(DType dtype) {
  using namespace std::string_view_literals;
  switch (dtype) {
    case DType::kFloat:
      return "\x00\x00\xc0\x7f"sv;
    case DType::kComplex64:
      return "\x00\x00\xc0\x7f\x00\x00\xc0\x7f"sv;
    case DType::kDouble:
      return "\x00\x00\x00\x00\x00\x00\xf8\x7f"sv;
    case DType::kComplex128:
      return "\x00\x00\x00\x00\x00\x00\xf8\x7f\x00\x00\x00\x00\x00\x00\xf8\x7f"sv;
    case DType::kFloat16:
      return "\x00\x7e"sv;
    case DType::kBfloat16:
      return "\xc0\x7f"sv;
    case DType::kFloat8E4M3FN:
    case DType::kFloat8E5M2:
      return "\x7f"sv;
    case DType::kFloat8E4M3FNUZ:
    case DType::kFloat8E5M2FNUZ:
      return "\x80"sv;
    default:
      return {};
  }
}

}  // namespace

bool HasWholeRows(const Tensor& tensor) {
  return !tensor.shape().empty() &&
         ElementsPerRow(tensor) * static_cast<uint64_t>(BitsPerElement(tensor.dtype())) % 8 == 0;
}

std::vector<int64_t> TrueRows(const Tensor& mask) {
  const absl::string_view bytes = mask.bytes();
  std::vector<int64_t> rows;
  rows.reserve(bytes.size() - static_cast<size_t>(std::count(bytes.begin(), bytes.end(), '\0')));
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != 0) rows.push_back(static_cast<int64_t>(i));
  }
  return rows;
}

Tensor TakeRows(const Tensor& tensor, absl::Span<const int64_t> rows) {
  PORTICO_CHECK(!tensor.shape().empty());
  const bool whole_bytes = tensor.dtype() != DType::kString &&
                           ElementsPerRow(tensor) * static_cast<uint64_t>(BitsPerElement(tensor.dtype())) % 8 == 0;
  const auto count = static_cast<int64_t>(rows.size());
  bool one_run = true;
  for (size_t i = 1; i < rows.size() && one_run; ++i) one_run = rows[i] == rows[i - 1] + 1;
  if (one_run && count == tensor.rows()) return tensor;
  if (one_run && whole_bytes && count > 0) return tensor.Slice(rows[0], count);
  return Assemble(tensor, rows.size(), [&](auto append) {
    ForEachRun(rows, [&](int64_t first, int64_t run, int64_t) { append(tensor, first, run); });
  });
}

Tensor PutRows(const Tensor& base, absl::Span<const int64_t> rows, const Tensor& part) {
  PORTICO_CHECK(base.dtype() == part.dtype() && base.shape().size() == part.shape().size() && !base.shape().empty());
  PORTICO_CHECK(part.rows() == static_cast<int64_t>(rows.size()) && ElementsPerRow(base) == ElementsPerRow(part));
  if (rows.empty()) return base;
  if (part.rows() == base.rows()) return part;
  return Assemble(base, static_cast<size_t>(base.rows()), [&](auto append) {
    int64_t next = 0;
    ForEachRun(rows, [&](int64_t first, int64_t run, int64_t at) {
      append(base, next, first - next);
      append(part, at, run);
      next = first + run;
    });
    append(base, next, base.rows() - next);
  });
}

Tensor Marks(DType dtype, Shape shape) {
  if (dtype == DType::kString) {
    int64_t elements = 1;
    for (const int64_t extent : shape) elements *= extent;
    const std::vector<absl::string_view> empty(static_cast<size_t>(elements));
    return Tensor::OfStrings(std::move(shape), empty);
  }
  Tensor marks = Tensor::Allocate(dtype, std::move(shape));
  char* const to = marks.mutable_bytes();
  const size_t size = marks.bytes().size();
  const std::string_view nan = NanOf(dtype);
  if (nan.empty() && size > 0) std::memset(to, 0, size);
  for (size_t at = 0; !nan.empty() && at < size; at += nan.size()) std::memcpy(to + at, nan.data(), nan.size());
  return marks;
}

}  // namespace portico
