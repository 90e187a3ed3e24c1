#include "codec/json_elements.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/small_float.h"
#include "codec/json_tensor_builder.h"
#include "codec/json_text.h"
#include "simdjson.h"

namespace portico {
namespace {

template <typename T>
T Load(const char* data, uint64_t index) {
  T value;
  std::memcpy(&value, data + index * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
char* WriteInteger(T value, char* out) {
  return std::to_chars(out, out + kMaxJsonNumber, value).ptr;
}

/// Six digits tell any two numbers of these types apart.
char* WriteSmallFloat(float value, char* out) {
  char text[32];
  const int length = std::snprintf(text, sizeof(text), "%.6g", static_cast<double>(value));
  float rounded = 0;
  std::from_chars(text, text + length, rounded);
  return WriteJsonFloat(value == value ? rounded : value, out);
}

/// `append(index)` for each element, commas between.
template <typename Append>
void AppendEach(uint64_t begin, uint64_t count, std::string* out, Append append) {
  for (uint64_t i = begin; i < begin + count; ++i) {
    if (i != begin) out->push_back(',');
    append(i);
  }
}

/// The same for numbers: `write(index, to)` writes one and returns its end. The string grows by pieces of many.
template <typename Write>
void AppendNumbers(uint64_t begin, uint64_t count, std::string* out, Write write) {
  constexpr size_t kPiece = 256;
  char piece[kPiece * (kMaxJsonNumber + 1)];
  for (uint64_t i = begin; i < begin + count;) {
    char* end = piece;
    for (const uint64_t stop = std::min<uint64_t>(i + kPiece, begin + count); i < stop; ++i) {
      if (i != begin) *end++ = ',';
      end = write(i, end);
    }
    out->append(piece, static_cast<size_t>(end - piece));
  }
}

template <typename T>
void AppendIntegers(const char* data, uint64_t begin, uint64_t count, std::string* out) {
  AppendNumbers(begin, count, out, [=](uint64_t i, char* to) { return WriteInteger(Load<T>(data, i), to); });
}

int NibbleAt(const char* data, uint64_t index, bool is_signed) {
  const int value = static_cast<uint8_t>(data[index / 2]) >> (index % 2 * 4) & 0x0f;
  return is_signed && value >= 8 ? value - 16 : value;
}

}  // namespace

absl::Status CheckJsonTensor(absl::string_view kind, absl::string_view name, const Tensor& tensor, JsonBytes bytes,
                             absl::string_view remedy) {
  if (JsonKindOf(tensor.dtype()) == JsonKind::kUnsupported) {
    return absl::UnimplementedError(
        absl::StrCat(kind, " '", name, "': got ", DTypeName(tensor.dtype()), ", which JSON has no form for; use gRPC"));
  }
  if (tensor.dtype() != DType::kString || bytes == JsonBytes::kBase64) return absl::OkStatus();
  const size_t table = (tensor.num_elements() + 1) * sizeof(uint64_t);
  const absl::string_view text = tensor.bytes().substr(table);
  if (simdjson::validate_utf8(text.data(), text.size())) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(kind, " '", name, "': got strings that are not UTF-8, which JSON cannot hold; ", remedy));
}

void AppendJsonElements(const Tensor& tensor, uint64_t begin, uint64_t count, JsonBytes bytes, std::string* out) {
  const char* const data = tensor.bytes().data();
  switch (tensor.dtype()) {
    case DType::kFloat:
      return AppendNumbers(begin, count, out,
                           [=](uint64_t i, char* to) { return WriteJsonFloat(Load<float>(data, i), to); });
    case DType::kDouble:
      return AppendNumbers(begin, count, out,
                           [=](uint64_t i, char* to) { return WriteJsonDouble(Load<double>(data, i), to); });
    case DType::kFloat16:
      return AppendNumbers(begin, count, out, [=](uint64_t i, char* to) {
        return WriteSmallFloat(FloatFromHalf(Load<uint16_t>(data, i)), to);
      });
    case DType::kBfloat16:
      return AppendNumbers(begin, count, out, [=](uint64_t i, char* to) {
        return WriteSmallFloat(FloatFromBfloat(Load<uint16_t>(data, i)), to);
      });
    case DType::kInt8:
      return AppendIntegers<int8_t>(data, begin, count, out);
    case DType::kInt16:
      return AppendIntegers<int16_t>(data, begin, count, out);
    case DType::kInt32:
      return AppendIntegers<int32_t>(data, begin, count, out);
    case DType::kInt64:
      return AppendIntegers<int64_t>(data, begin, count, out);
    case DType::kUint8:
      return AppendIntegers<uint8_t>(data, begin, count, out);
    case DType::kUint16:
      return AppendIntegers<uint16_t>(data, begin, count, out);
    case DType::kUint32:
      return AppendIntegers<uint32_t>(data, begin, count, out);
    case DType::kUint64:
      return AppendIntegers<uint64_t>(data, begin, count, out);
    case DType::kBool:
      return AppendEach(begin, count, out, [&](uint64_t i) { out->append(data[i] != 0 ? "true" : "false"); });
    case DType::kUint4:
    case DType::kInt4:
      return AppendNumbers(begin, count, out, [&](uint64_t i, char* to) {
        return WriteInteger(NibbleAt(data, i, tensor.dtype() == DType::kInt4), to);
      });
    default:
      return AppendEach(begin, count, out, [&](uint64_t i) {
        if (bytes == JsonBytes::kText) return AppendJsonString(tensor.StringAt(i), out);
        absl::StrAppend(out, "{\"b64\":\"", absl::Base64Escape(tensor.StringAt(i)), "\"}");
      });
  }
}

// Recursion is as deep as the tensor's rank.
void AppendJsonLists(const Tensor& tensor, size_t depth, JsonBytes bytes, uint64_t* next, std::string* out) {
  const Shape& shape = tensor.shape();
  const auto append = [&](uint64_t count) {
    AppendJsonElements(tensor, *next, count, bytes, out);
    *next += count;
  };
  if (depth == shape.size()) return append(1);
  out->push_back('[');
  if (depth + 1 == shape.size()) {
    append(static_cast<uint64_t>(shape[depth]));
  } else {
    for (int64_t i = 0; i < shape[depth]; ++i) {
      if (i != 0) out->push_back(',');
      AppendJsonLists(tensor, depth + 1, bytes, next, out);
    }
  }
  out->push_back(']');
}

}  // namespace portico
