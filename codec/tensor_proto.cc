#include "codec/tensor_proto.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/wire.h"
#include "codec/tf_dtype.h"

namespace portico {
namespace {

// Fields of TensorProto.
constexpr uint32_t kDtype = 1;
constexpr uint32_t kShape = 2;
constexpr uint32_t kContent = 4;
constexpr uint32_t kFloatVal = 5;
constexpr uint32_t kDoubleVal = 6;
constexpr uint32_t kIntVal = 7;
constexpr uint32_t kStringVal = 8;
constexpr uint32_t kScomplexVal = 9;
constexpr uint32_t kInt64Val = 10;
constexpr uint32_t kBoolVal = 11;
constexpr uint32_t kDcomplexVal = 12;
constexpr uint32_t kHalfVal = 13;
constexpr uint32_t kUint32Val = 16;
constexpr uint32_t kUint64Val = 17;
constexpr uint32_t kFloat8Val = 18;

/// TensorFlow's own limit.
constexpr size_t kMaxRank = 254;

absl::Status Malformed() { return absl::InvalidArgumentError("TensorProto: malformed protobuf"); }

absl::Status TooMany(uint64_t got, uint64_t want) {
  return absl::InvalidArgumentError(
      absl::StrCat("TensorProto: got ", got, " values, want at most the ", want, " of its shape"));
}

struct Header {
  DType dtype = DType::kInvalid;
  Shape shape;
  uint64_t elements = 0;
  absl::string_view content;
};

absl::Status ReadShape(absl::string_view bytes, Shape* shape) {
  WireReader in(bytes);
  while (in.Next()) {
    if (in.field() == 3 && in.Bool()) {
      return absl::InvalidArgumentError("shape: got an unknown rank, want the extents of the data");
    }
    if (in.field() != 2) continue;
    int64_t extent = 0;
    WireReader dim(in.Bytes());
    while (dim.Next()) {
      if (dim.field() == 1) extent = dim.Int();
    }
    if (dim.failed()) return Malformed();
    if (shape->size() == kMaxRank) {
      return absl::InvalidArgumentError(absl::StrCat("shape: got over ", kMaxRank, " dimensions, want at most that"));
    }
    shape->push_back(extent);
  }
  return in.failed() ? Malformed() : absl::OkStatus();
}

absl::StatusOr<Header> ReadHeader(absl::string_view proto) {
  Header header;
  int64_t dtype = 0;
  WireReader in(proto);
  while (in.Next()) {
    switch (in.field()) {
      case kDtype:
        dtype = in.Int();
        break;
      case kShape:
        RETURN_IF_ERROR(ReadShape(in.Bytes(), &header.shape));
        break;
      case kContent:
        header.content = in.Bytes();
        break;
      default:
        break;
    }
  }
  if (in.failed()) return Malformed();
  ASSIGN_OR_RETURN(header.dtype, DTypeFromTf(dtype));
  ASSIGN_OR_RETURN(header.elements, NumElements(header.shape));
  return header;
}

absl::Status CheckSize(const Header& header, uint64_t bytes, uint64_t max_bytes) {
  if (bytes <= max_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("TensorProto: got ", bytes, " bytes for ", DTypeName(header.dtype),
                                                 ShapeString(header.shape), ", want at most ", max_bytes));
}

bool IsFourBit(DType dtype) { return BitsPerElement(dtype) == 4; }

/// One element per byte, as TensorFlow sends 4-bit types → two per byte, the first in the low half.
Tensor Pack(DType dtype, const Shape& shape, absl::string_view values) {
  Tensor packed = Tensor::Allocate(dtype, shape);
  char* out = packed.mutable_bytes();
  for (size_t i = 0; i < values.size(); ++i) {
    const auto nibble = static_cast<char>(values[i] & 0x0f);
    if (i % 2 == 0)
      out[i / 2] = nibble;
    else
      out[i / 2] = static_cast<char>(out[i / 2] | static_cast<char>(nibble << 4));
  }
  return packed;
}

/// The reverse; int4 comes out sign-extended.
Tensor Unpack(const Tensor& packed) {
  Tensor values = Tensor::Allocate(DType::kUint8, packed.shape());
  const absl::string_view in = packed.bytes();
  const uint64_t elements = packed.num_elements();
  for (uint64_t i = 0; i < elements; ++i) {
    int value = (static_cast<uint8_t>(in[i / 2]) >> (i % 2 * 4)) & 0x0f;
    if (packed.dtype() == DType::kInt4 && value >= 8) value -= 16;
    values.mutable_bytes()[i] = static_cast<char>(value);
  }
  return values;
}

/// A varint as the C++ type of a dtype; false where it does not fit.
template <typename T>
bool Convert(uint64_t raw, T* value) {
  if constexpr (std::is_same_v<T, bool>) {
    *value = raw != 0;
    return true;
  } else if constexpr (sizeof(T) >= 4) {
    *value = static_cast<T>(raw);  // protobuf cuts to the field's width, too
    return true;
  } else {
    const auto number = static_cast<int32_t>(raw);
    *value = static_cast<T>(number);
    return number >= std::numeric_limits<T>::min() && number <= std::numeric_limits<T>::max();
  }
}

/// Values of a repeated varint field, packed or not, into out[0..limit).
template <typename T>
absl::StatusOr<uint64_t> ReadVarints(absl::string_view proto, uint32_t field, T* out, uint64_t limit) {
  uint64_t count = 0;
  const auto store = [&](uint64_t raw) -> absl::Status {
    if (count == limit) return TooMany(limit + 1, limit);
    if (Convert<T>(raw, &out[count++])) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("TensorProto: got value ", static_cast<int32_t>(raw), ", want one that fits its dtype"));
  };
  WireReader in(proto);
  while (in.Next()) {
    if (in.field() != field) continue;
    if (in.is(WireReader::Type::kVarint)) {
      RETURN_IF_ERROR(store(in.Varint()));
      continue;
    }
    absl::string_view packed = in.Bytes();
    for (uint64_t raw = 0; !packed.empty();) {
      if (!ConsumeVarint(&packed, &raw)) return Malformed();
      RETURN_IF_ERROR(store(raw));
    }
  }
  if (in.failed()) return Malformed();
  return count;
}

/// The same of a repeated fixed-width field; a packed run is one memcpy. Counts and limit are of `T` values.
template <typename T>
absl::StatusOr<uint64_t> ReadFixed(absl::string_view proto, uint32_t field, T* out, uint64_t limit) {
  uint64_t count = 0;
  WireReader in(proto);
  while (in.Next()) {
    if (in.field() != field) continue;
    T single;
    absl::string_view packed;
    if (in.is(WireReader::Type::kBytes)) {
      packed = in.Bytes();
    } else {
      if constexpr (sizeof(T) == 4)
        single = in.Float();
      else
        single = in.Double();
      packed = {reinterpret_cast<const char*>(&single), sizeof(single)};
    }
    if (in.failed() || packed.size() % sizeof(T) != 0) return Malformed();
    const uint64_t values = packed.size() / sizeof(T);
    if (values > limit - count) return TooMany(count + values, limit);
    if (values != 0) std::memcpy(out + count, packed.data(), packed.size());
    count += values;
  }
  if (in.failed()) return Malformed();
  return count;
}

absl::StatusOr<uint64_t> ReadFloat8(absl::string_view proto, char* out, uint64_t limit) {
  absl::string_view values;
  WireReader in(proto);
  while (in.Next()) {
    if (in.field() == kFloat8Val) values = in.Bytes();
  }
  if (in.failed()) return Malformed();
  if (values.size() > limit) return TooMany(values.size(), limit);
  std::copy(values.begin(), values.end(), out);
  return values.size();
}

/// Repeats the last of `count` elements of `width` bytes up to `elements`; zeros where there is none.
void FillRest(char* data, uint64_t count, uint64_t elements, size_t width) {
  if (count == elements) return;
  if (count == 0) {
    std::memset(data, 0, elements * width);
    return;
  }
  const char* last = data + (count - 1) * width;
  if (width == 1) {
    std::memset(data + count, *last, elements - count);
    return;
  }
  for (uint64_t i = count; i < elements; ++i) std::memcpy(data + i * width, last, width);
}

absl::StatusOr<uint64_t> ReadValues(absl::string_view proto, DType dtype, char* out, uint64_t elements) {
  switch (dtype) {
    case DType::kFloat:
      return ReadFixed(proto, kFloatVal, reinterpret_cast<float*>(out), elements);
    case DType::kDouble:
      return ReadFixed(proto, kDoubleVal, reinterpret_cast<double*>(out), elements);
    case DType::kComplex64:
    case DType::kComplex128: {
      // Real and imaginary parts by turns: twice as many values, which must pair up.
      ASSIGN_OR_RETURN(const uint64_t parts,
                       dtype == DType::kComplex64
                           ? ReadFixed(proto, kScomplexVal, reinterpret_cast<float*>(out), 2 * elements)
                           : ReadFixed(proto, kDcomplexVal, reinterpret_cast<double*>(out), 2 * elements));
      if (parts % 2 != 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("TensorProto: got ", parts, " parts of complex values, want pairs"));
      }
      return parts / 2;
    }
    case DType::kInt32:
      return ReadVarints(proto, kIntVal, reinterpret_cast<int32_t*>(out), elements);
    case DType::kInt16:
      return ReadVarints(proto, kIntVal, reinterpret_cast<int16_t*>(out), elements);
    case DType::kUint16:
      return ReadVarints(proto, kIntVal, reinterpret_cast<uint16_t*>(out), elements);
    case DType::kInt4:
    case DType::kInt8:
      return ReadVarints(proto, kIntVal, reinterpret_cast<int8_t*>(out), elements);
    case DType::kUint4:
    case DType::kUint8:
      return ReadVarints(proto, kIntVal, reinterpret_cast<uint8_t*>(out), elements);
    case DType::kInt64:
      return ReadVarints(proto, kInt64Val, reinterpret_cast<int64_t*>(out), elements);
    case DType::kBool:
      return ReadVarints(proto, kBoolVal, reinterpret_cast<bool*>(out), elements);
    case DType::kFloat16:
    case DType::kBfloat16:
      return ReadVarints(proto, kHalfVal, reinterpret_cast<uint16_t*>(out), elements);
    case DType::kUint32:
      return ReadVarints(proto, kUint32Val, reinterpret_cast<uint32_t*>(out), elements);
    case DType::kUint64:
      return ReadVarints(proto, kUint64Val, reinterpret_cast<uint64_t*>(out), elements);
    default:
      return ReadFloat8(proto, out, elements);
  }
}

absl::StatusOr<Tensor> ReadNumbers(const Header& header, absl::string_view proto, uint64_t max_bytes) {
  // 4-bit types are read one to a byte and packed afterwards.
  const DType stored = IsFourBit(header.dtype) ? DType::kUint8 : header.dtype;
  RETURN_IF_ERROR(CheckSize(header, BytesFor(stored, header.elements), max_bytes));
  Tensor tensor = Tensor::Allocate(stored, header.shape);
  ASSIGN_OR_RETURN(const uint64_t count, ReadValues(proto, header.dtype, tensor.mutable_bytes(), header.elements));
  FillRest(tensor.mutable_bytes(), count, header.elements, static_cast<size_t>(BitsPerElement(stored) / 8));
  return stored == header.dtype ? tensor : Pack(header.dtype, header.shape, tensor.bytes());
}

/// Strings in tensor_content: a varint length per element, then their bytes.
absl::Status ReadStringContent(const Header& header, std::vector<absl::string_view>* values) {
  absl::string_view text = header.content;
  std::vector<uint64_t> lengths(header.elements);
  for (uint64_t& length : lengths) {
    if (!ConsumeVarint(&text, &length)) return Malformed();
  }
  for (const uint64_t length : lengths) {
    if (length > text.size()) return Malformed();
    values->push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return text.empty() ? absl::OkStatus() : Malformed();
}

absl::StatusOr<Tensor> ReadStrings(const Header& header, absl::string_view proto, uint64_t max_bytes) {
  // The offset table comes first: it bounds the number of elements.
  RETURN_IF_ERROR(CheckSize(header, header.elements > max_bytes ? header.elements : header.elements * 8, max_bytes));
  std::vector<absl::string_view> values;
  values.reserve(header.elements);
  if (!header.content.empty()) {
    RETURN_IF_ERROR(ReadStringContent(header, &values));
    return Tensor::OfStrings(header.shape, absl::Span<const absl::string_view>(values));
  }
  uint64_t text = 0;
  WireReader in(proto);
  while (in.Next()) {
    if (in.field() != kStringVal) continue;
    if (values.size() == header.elements) return TooMany(header.elements + 1, header.elements);
    values.push_back(in.Bytes());
    text += values.back().size();
  }
  if (in.failed()) return Malformed();
  if (const uint64_t rest = header.elements - values.size(); rest != 0) {
    const absl::string_view last = values.empty() ? absl::string_view() : values.back();
    if (!last.empty() && rest > max_bytes / last.size()) {
      return absl::InvalidArgumentError(absl::StrCat("TensorProto: got a string of ", last.size(), " bytes to fill ",
                                                     header.elements, " elements, want at most ", max_bytes,
                                                     " bytes in all"));
    }
    text += rest * last.size();
    values.resize(header.elements, last);
  }
  RETURN_IF_ERROR(CheckSize(header, text, max_bytes));
  return Tensor::OfStrings(header.shape, absl::Span<const absl::string_view>(values));
}

}  // namespace

absl::StatusOr<Tensor> ReadTensorProto(absl::string_view proto, const Ref<TensorOrigin>& origin, uint64_t max_bytes) {
  ASSIGN_OR_RETURN(const Header header, ReadHeader(proto));
  if (header.dtype == DType::kString) return ReadStrings(header, proto, max_bytes);
  if (header.content.empty()) return ReadNumbers(header, proto, max_bytes);
  if (!IsFourBit(header.dtype)) return Tensor::View(header.dtype, header.shape, header.content, origin);
  if (header.content.size() != header.elements) {
    return absl::InvalidArgumentError(absl::StrCat("TensorProto: got ", header.content.size(), " bytes, want ",
                                                   header.elements, ", one for each element of ",
                                                   DTypeName(header.dtype), ShapeString(header.shape)));
  }
  return Pack(header.dtype, header.shape, header.content);
}

absl::StatusOr<EncodedTensor> EncodeTensorProto(const Tensor& tensor) {
  ASSIGN_OR_RETURN(const int dtype, TfDataType(tensor.dtype()));
  std::string shape;
  WireWriter dims(&shape);
  for (const int64_t extent : tensor.shape()) {
    // Dim{size: extent}: a tag byte and the value. A size of 0 is left out, as protobuf leaves it.
    const auto size = static_cast<uint64_t>(extent);
    dims.BytesHeader(2, size == 0 ? 0 : 1 + WireWriter::VarintSize(size));
    if (size != 0) dims.Varint(1, size);
  }
  EncodedTensor encoded;
  WireWriter out(&encoded.head);
  out.Varint(kDtype, static_cast<uint64_t>(dtype));
  out.Bytes(kShape, shape);
  if (tensor.dtype() == DType::kString) {
    const uint64_t elements = tensor.num_elements();
    for (uint64_t i = 0; i < elements; ++i) out.Bytes(kStringVal, tensor.StringAt(i));
    return encoded;
  }
  encoded.content = IsFourBit(tensor.dtype()) ? Unpack(tensor) : tensor;
  if (!encoded.content.bytes().empty()) out.BytesHeader(kContent, encoded.content.bytes().size());
  return encoded;
}

absl::Status AppendNamedTensorProto(uint32_t field, absl::string_view name, const Tensor& tensor,
                                    SplicedMessage* message) {
  ASSIGN_OR_RETURN(EncodedTensor encoded, EncodeTensorProto(tensor));
  // MapEntry{key: name, value: TensorProto}; one byte per tag.
  const uint64_t entry = 1 + WireWriter::VarintSize(name.size()) + name.size() + 1 +
                         WireWriter::VarintSize(encoded.size()) + encoded.size();
  WireWriter out(&message->bytes);
  out.BytesHeader(field, entry);
  out.Bytes(1, name);
  out.BytesHeader(2, encoded.size());
  message->bytes += encoded.head;
  const absl::string_view content = encoded.content.bytes();
  if (content.size() < SplicedMessage::kMinSplice) {
    message->bytes.append(content.data(), content.size());
  } else {
    message->splices.push_back({message->bytes.size(), std::move(encoded.content)});
  }
  return absl::OkStatus();
}

}  // namespace portico
