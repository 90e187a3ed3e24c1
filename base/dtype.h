#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// Element type of a tensor. The numbers are those of ONNX `TensorProto.DataType` (onnx.proto), so conversion is a
/// cast.
enum class DType : uint8_t {
  kInvalid = 0,
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kDouble = 11,
  kUint32 = 12,
  kUint64 = 13,
  kComplex64 = 14,
  kComplex128 = 15,
  kBfloat16 = 16,
  kFloat8E4M3FN = 17,
  kFloat8E4M3FNUZ = 18,
  kFloat8E5M2 = 19,
  kFloat8E5M2FNUZ = 20,
  kUint4 = 21,
  kInt4 = 22,
  kFloat4E2M1 = 23,
};

inline constexpr int kMaxDType = 23;

/// Bits one element takes in memory; 4-bit types pack two to a byte. 0 for kString and kInvalid.
int BitsPerElement(DType dtype);

/// Bytes of `elements` of a fixed-size type, rounded up. REQUIRES: dtype is not kString; no overflow up to 2^59
/// elements.
uint64_t BytesFor(DType dtype, uint64_t elements);

/// Bytes an address of such data should be a multiple of (1, 2, 4 or 8).
size_t AlignmentOf(DType dtype);

/// "float32", "int64", "string", ...; "invalid" for anything else.
absl::string_view DTypeName(DType dtype);

/// INVALID_ARGUMENT when `number` is not a DType (kInvalid neither).
absl::StatusOr<DType> DTypeFromNumber(int64_t number);

/// Of DTypeName's words. INVALID_ARGUMENT when there is no such type; the message lists the names.
absl::StatusOr<DType> DTypeFromName(absl::string_view name);

/// The DType of a C++ type: `DTypeOf<float>() == DType::kFloat`.
template <typename T>
constexpr DType DTypeOf() = delete;
template <>
constexpr DType DTypeOf<float>() {
  return DType::kFloat;
}
template <>
constexpr DType DTypeOf<double>() {
  return DType::kDouble;
}
template <>
constexpr DType DTypeOf<int8_t>() {
  return DType::kInt8;
}
template <>
constexpr DType DTypeOf<uint8_t>() {
  return DType::kUint8;
}
template <>
constexpr DType DTypeOf<int16_t>() {
  return DType::kInt16;
}
template <>
constexpr DType DTypeOf<uint16_t>() {
  return DType::kUint16;
}
template <>
constexpr DType DTypeOf<int32_t>() {
  return DType::kInt32;
}
template <>
constexpr DType DTypeOf<uint32_t>() {
  return DType::kUint32;
}
template <>
constexpr DType DTypeOf<int64_t>() {
  return DType::kInt64;
}
template <>
constexpr DType DTypeOf<uint64_t>() {
  return DType::kUint64;
}
template <>
constexpr DType DTypeOf<bool>() {
  return DType::kBool;
}

}  // namespace portico
