#include "codec/v2_tensor.h"

#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/wire.h"
#include "codec/v2_dtype.h"

namespace portico {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

constexpr size_t kLengthBytes = sizeof(uint32_t);
constexpr size_t kMaxRank = 254;

std::string Declared(const V2InputHead& head) { return absl::StrCat(V2TypeName(head.dtype), ShapeString(head.shape)); }

absl::Status Wrong(const V2InputHead& head, absl::string_view got, absl::string_view want) {
  return absl::InvalidArgumentError(
      absl::StrCat(head.kind, " '", head.name, "': got ", got, ", want ", want, " for ", Declared(head)));
}

absl::Status Malformed(const V2InputHead& head) {
  return absl::InvalidArgumentError(absl::StrCat(head.kind, " '", head.name, "': malformed protobuf in contents"));
}

absl::StatusOr<uint64_t> ElementsOf(const V2InputHead& head) {
  absl::StatusOr<uint64_t> elements = NumElements(head.shape);
  if (!elements.ok()) return WithContext(absl::StrCat(head.kind, " '", head.name, "'"), elements.status());
  return elements;
}

/// `bytes`: what the tensor will take.
absl::Status CheckSize(const V2InputHead& head, uint64_t bytes, uint64_t max_bytes) {
  if (bytes <= max_bytes) return absl::OkStatus();
  return Wrong(head, absl::StrCat(bytes, " bytes"), absl::StrCat("at most ", max_bytes));
}

absl::StatusOr<Tensor> ReadRawStrings(const V2InputHead& head, absl::string_view raw, uint64_t max_bytes) {
  ASSIGN_OR_RETURN(const uint64_t elements, ElementsOf(head));
  // The lengths alone bound the number of elements before memory is taken.
  if (elements > raw.size() / kLengthBytes) {
    return Wrong(head, absl::StrCat(raw.size(), " bytes"), absl::StrCat(elements, " elements of 4 bytes and more"));
  }
  RETURN_IF_ERROR(CheckSize(head, raw.size() + (elements + 1) * (sizeof(uint64_t) - kLengthBytes), max_bytes));
  std::vector<absl::string_view> values(elements);
  for (absl::string_view& value : values) {
    uint32_t length = 0;
    if (raw.size() < kLengthBytes) return Wrong(head, "bytes that end within a length", "a 4-byte length per element");
    std::memcpy(&length, raw.data(), kLengthBytes);
    raw.remove_prefix(kLengthBytes);
    if (length > raw.size()) {
      return Wrong(head, absl::StrCat("an element of ", length, " bytes where ", raw.size(), " are left"),
                   "lengths that fit the bytes");
    }
    value = raw.substr(0, length);
    raw.remove_prefix(length);
  }
  if (!raw.empty())
    return Wrong(head, absl::StrCat(raw.size(), " bytes too many"), absl::StrCat(elements, " elements"));
  return Tensor::OfStrings(head.shape, absl::Span<const absl::string_view>(values));
}

/// The field of InferTensorContents that holds values of a dtype; 0: raw only.
uint32_t ContentsField(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return 1;
    case DType::kInt8:
    case DType::kInt16:
    case DType::kInt32:
      return 2;
    case DType::kInt64:
      return 3;
    case DType::kUint8:
    case DType::kUint16:
    case DType::kUint32:
      return 4;
    case DType::kUint64:
      return 5;
    case DType::kFloat:
      return 6;
    case DType::kDouble:
      return 7;
    case DType::kString:
      return 8;
    default:
      return 0;
  }
}

constexpr absl::string_view kContentsFields[] = {"",
                                                 "bool_contents",
                                                 "int_contents",
                                                 "int64_contents",
                                                 "uint_contents",
                                                 "uint64_contents",
                                                 "fp32_contents",
                                                 "fp64_contents",
                                                 "bytes_contents"};

absl::Status WrongCount(const V2InputHead& head, uint64_t got, absl::string_view more, uint64_t want) {
  return Wrong(head, absl::StrCat(more, got, " values in contents"), absl::StrCat(want));
}

/// A varint as the C++ type of a dtype; false where that cannot hold it.
template <typename T>
bool Convert(uint64_t raw, T* value) {
  if constexpr (std::is_same_v<T, bool>) {
    *value = raw != 0;
    return true;
  } else if constexpr (sizeof(T) >= 4) {
    *value = static_cast<T>(raw);  // protobuf cuts to the field's width, too
    return true;
  } else {
    using Wide = std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>;
    const auto number = static_cast<Wide>(raw);
    *value = static_cast<T>(number);
    return number >= static_cast<Wide>(std::numeric_limits<T>::min()) &&
           number <= static_cast<Wide>(std::numeric_limits<T>::max());
  }
}

/// Writes values of the contents into memory for exactly `want` of them.
class ContentsReader {
 public:
  ContentsReader(const V2InputHead& head, absl::string_view contents, uint64_t want)
      : head_(head), contents_(contents), field_(ContentsField(head.dtype)), want_(want) {}

  template <typename T>
  absl::Status Varints(T* out) const {
    uint64_t count = 0;
    const auto store = [&](uint64_t raw) -> absl::Status {
      if (count == want_) return WrongCount(head_, want_, "over ", want_);
      if (Convert<T>(raw, &out[count++])) return absl::OkStatus();
      return Wrong(head_, absl::StrCat("value ", static_cast<int64_t>(raw)), "one that fits");
    };
    WireReader in(contents_);
    while (in.Next()) {
      RETURN_IF_ERROR(CheckField(in.field()));
      if (in.is(WireReader::Type::kVarint)) {
        RETURN_IF_ERROR(store(in.Varint()));
        continue;
      }
      absl::string_view packed = in.Bytes();
      for (uint64_t raw = 0; !packed.empty();) {
        if (!ConsumeVarint(&packed, &raw)) return Malformed(head_);
        RETURN_IF_ERROR(store(raw));
      }
    }
    return Done(in, count);
  }

  template <typename T>
  absl::Status Fixed(T* out) const {
    uint64_t count = 0;
    WireReader in(contents_);
    while (in.Next()) {
      RETURN_IF_ERROR(CheckField(in.field()));
      T single;
      absl::string_view packed;
      if (in.is(WireReader::Type::kBytes)) {
        packed = in.Bytes();
      } else {
        if constexpr (sizeof(T) == sizeof(float))
          single = in.Float();
        else
          single = in.Double();
        packed = {reinterpret_cast<const char*>(&single), sizeof(single)};
      }
      if (in.failed() || packed.size() % sizeof(T) != 0) return Malformed(head_);
      const uint64_t values = packed.size() / sizeof(T);
      if (values > want_ - count) return WrongCount(head_, want_, "over ", want_);
      if (values != 0) std::memcpy(out + count, packed.data(), packed.size());
      count += values;
    }
    return Done(in, count);
  }

  absl::StatusOr<Tensor> Strings(uint64_t max_bytes) const {
    std::vector<absl::string_view> values;
    WireReader in(contents_);
    while (in.Next()) {
      RETURN_IF_ERROR(CheckField(in.field()));
      if (values.size() == want_) return WrongCount(head_, want_, "over ", want_);
      values.push_back(in.Bytes());
    }
    RETURN_IF_ERROR(Done(in, values.size()));
    RETURN_IF_ERROR(CheckSize(head_, contents_.size() + (want_ + 1) * sizeof(uint64_t), max_bytes));
    return Tensor::OfStrings(head_.shape, absl::Span<const absl::string_view>(values));
  }

 private:
  absl::Status CheckField(uint32_t field) const {
    if (field == field_) return absl::OkStatus();
    return Wrong(head_, field <= 8 ? absl::StrCat("values in ", kContentsFields[field]) : absl::StrCat("field ", field),
                 absl::StrCat("them in ", kContentsFields[field_]));
  }
  absl::Status Done(const WireReader& in, uint64_t count) const {
    if (in.failed()) return Malformed(head_);
    if (count != want_) return WrongCount(head_, count, "", want_);
    return absl::OkStatus();
  }

  const V2InputHead& head_;
  const absl::string_view contents_;
  const uint32_t field_;
  const uint64_t want_;
};

absl::Status ReadValues(const ContentsReader& reader, DType dtype, char* out) {
  switch (dtype) {
    case DType::kBool:
      return reader.Varints(reinterpret_cast<bool*>(out));
    case DType::kInt8:
      return reader.Varints(reinterpret_cast<int8_t*>(out));
    case DType::kInt16:
      return reader.Varints(reinterpret_cast<int16_t*>(out));
    case DType::kInt32:
      return reader.Varints(reinterpret_cast<int32_t*>(out));
    case DType::kInt64:
      return reader.Varints(reinterpret_cast<int64_t*>(out));
    case DType::kUint8:
      return reader.Varints(reinterpret_cast<uint8_t*>(out));
    case DType::kUint16:
      return reader.Varints(reinterpret_cast<uint16_t*>(out));
    case DType::kUint32:
      return reader.Varints(reinterpret_cast<uint32_t*>(out));
    case DType::kUint64:
      return reader.Varints(reinterpret_cast<uint64_t*>(out));
    case DType::kFloat:
      return reader.Fixed(reinterpret_cast<float*>(out));
    default:
      return reader.Fixed(reinterpret_cast<double*>(out));
  }
}

}  // namespace

absl::StatusOr<Tensor> ReadV2Raw(const V2InputHead& head, absl::string_view raw, const Ref<TensorOrigin>& origin,
                                 uint64_t max_bytes) {
  if (head.dtype == DType::kString) return ReadRawStrings(head, raw, max_bytes);
  absl::StatusOr<Tensor> tensor = Tensor::View(head.dtype, head.shape, raw, origin);
  if (!tensor.ok()) return WithContext(absl::StrCat(head.kind, " '", head.name, "'"), tensor.status());
  return tensor;
}

absl::StatusOr<Tensor> ReadV2Contents(const V2InputHead& head, absl::string_view contents, uint64_t max_bytes) {
  ASSIGN_OR_RETURN(const uint64_t elements, ElementsOf(head));
  if (ContentsField(head.dtype) == 0) return Wrong(head, "contents", "raw_input_contents, the only form");
  // A value takes a byte of the message or more.
  if (elements > contents.size()) {
    return Wrong(head, absl::StrCat("contents of ", contents.size(), " bytes"), absl::StrCat(elements, " values"));
  }
  const ContentsReader reader(head, contents, elements);
  if (head.dtype == DType::kString) return reader.Strings(max_bytes);
  RETURN_IF_ERROR(CheckSize(head, BytesFor(head.dtype, elements), max_bytes));
  Tensor tensor = Tensor::Allocate(head.dtype, head.shape);
  RETURN_IF_ERROR(ReadValues(reader, head.dtype, tensor.mutable_bytes()));
  return tensor;
}

absl::Status ReadV2Shape(WireReader* in, Shape* shape) {
  const auto add = [&](uint64_t extent) {
    if (shape->size() == kMaxRank) {
      return absl::InvalidArgumentError(absl::StrCat("got over ", kMaxRank, " dimensions, want at most that"));
    }
    shape->push_back(static_cast<int64_t>(extent));
    return absl::OkStatus();
  };
  if (in->is(WireReader::Type::kVarint)) return add(in->Varint());
  absl::string_view packed = in->Bytes();
  for (uint64_t extent = 0; !packed.empty();) {
    if (!ConsumeVarint(&packed, &extent)) return absl::InvalidArgumentError("got a malformed shape");
    RETURN_IF_ERROR(add(extent));
  }
  return absl::OkStatus();
}

void AppendV2Head(uint32_t field, absl::string_view name, const Tensor& tensor, std::string* out) {
  std::string head;
  WireWriter fields(&head);
  fields.Bytes(1, name);
  fields.Bytes(2, V2TypeName(tensor.dtype()));
  size_t packed = 0;
  for (const int64_t extent : tensor.shape()) packed += WireWriter::VarintSize(static_cast<uint64_t>(extent));
  if (packed != 0) fields.BytesHeader(3, packed);
  for (const int64_t extent : tensor.shape()) fields.RawVarint(static_cast<uint64_t>(extent));
  WireWriter(out).Bytes(field, head);
}

uint64_t V2RawSize(const Tensor& tensor) {
  if (tensor.dtype() != DType::kString) return tensor.bytes().size();
  const uint64_t elements = tensor.num_elements();
  return tensor.bytes().size() - (elements + 1) * sizeof(uint64_t) + elements * kLengthBytes;
}

void AppendV2Raw(const Tensor& tensor, SplicedMessage* out) {
  const absl::string_view bytes = tensor.bytes();
  if (tensor.dtype() != DType::kString) {
    if (bytes.size() < SplicedMessage::kMinSplice) {
      out->bytes.append(bytes.data(), bytes.size());
    } else {
      out->splices.push_back({out->bytes.size(), tensor});
    }
    return;
  }
  const uint64_t elements = tensor.num_elements();
  for (uint64_t i = 0; i < elements; ++i) {
    const absl::string_view value = tensor.StringAt(i);
    const auto length = static_cast<uint32_t>(value.size());
    out->bytes.append(reinterpret_cast<const char*>(&length), kLengthBytes);
    out->bytes.append(value.data(), value.size());
  }
}

}  // namespace portico
