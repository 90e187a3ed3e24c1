#include "codec/tf_dtype.h"

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

struct Row {
  DType dtype;
  int tf;
  absl::string_view name;
};

/// The whole correspondence; kFloat4E2M1 has no counterpart.
constexpr Row kRows[] = {
    {DType::kFloat, 1, "float"},
    {DType::kDouble, 2, "double"},
    {DType::kInt32, 3, "int32"},
    {DType::kUint8, 4, "uint8"},
    {DType::kInt16, 5, "int16"},
    {DType::kInt8, 6, "int8"},
    {DType::kString, 7, "string"},
    {DType::kComplex64, 8, "complex64"},
    {DType::kInt64, 9, "int64"},
    {DType::kBool, 10, "bool"},
    {DType::kBfloat16, 14, "bfloat16"},
    {DType::kUint16, 17, "uint16"},
    {DType::kComplex128, 18, "complex128"},
    {DType::kFloat16, 19, "half"},
    {DType::kUint32, 22, "uint32"},
    {DType::kUint64, 23, "uint64"},
    {DType::kFloat8E5M2, 24, "float8_e5m2"},
    {DType::kFloat8E4M3FN, 25, "float8_e4m3fn"},
    {DType::kFloat8E4M3FNUZ, 26, "float8_e4m3fnuz"},
    {DType::kFloat8E5M2FNUZ, 28, "float8_e5m2fnuz"},
    {DType::kInt4, 29, "int4"},
    {DType::kUint4, 30, "uint4"},
};

}  // namespace

absl::StatusOr<int> TfDataType(DType dtype) {
  for (const Row& row : kRows) {
    if (row.dtype == dtype) return row.tf;
  }
  return absl::UnimplementedError(
      absl::StrCat("dtype: got ", DTypeName(dtype), ", want a type that TensorFlow has too"));
}

absl::StatusOr<DType> DTypeFromTf(int64_t number) {
  for (const Row& row : kRows) {
    if (row.tf == number) return row.dtype;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("dtype: got TensorFlow DataType ", number, ", want a plain numeric type or string"));
}

absl::string_view TfTypeName(DType dtype) {
  for (const Row& row : kRows) {
    if (row.dtype == dtype) return row.name;
  }
  return DTypeName(dtype);
}

}  // namespace portico
