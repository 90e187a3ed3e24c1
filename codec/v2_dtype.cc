#include "codec/v2_dtype.h"

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

struct Word {
  DType dtype;
  absl::string_view name;
};

constexpr Word kWords[] = {
    {DType::kFloat, "FP32"},    {DType::kInt64, "INT64"},   {DType::kString, "BYTES"}, {DType::kInt32, "INT32"},
    {DType::kBool, "BOOL"},     {DType::kDouble, "FP64"},   {DType::kFloat16, "FP16"}, {DType::kBfloat16, "BF16"},
    {DType::kInt8, "INT8"},     {DType::kInt16, "INT16"},   {DType::kUint8, "UINT8"},  {DType::kUint16, "UINT16"},
    {DType::kUint32, "UINT32"}, {DType::kUint64, "UINT64"},
};

}  // namespace

absl::StatusOr<DType> DTypeFromV2(absl::string_view name) {
  for (const Word& word : kWords) {
    if (word.name == name) return word.dtype;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "datatype '", name.substr(0, 64),
      "': unknown, want one of BOOL, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, FP16, BF16, FP32, FP64, "
      "BYTES"));
}

absl::string_view V2TypeName(DType dtype) {
  for (const Word& word : kWords) {
    if (word.dtype == dtype) return word.name;
  }
  return {};
}

absl::Status CheckV2Output(absl::string_view name, DType dtype) {
  if (!V2TypeName(dtype).empty()) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat("output '", name, "': got ", DTypeName(dtype),
                                               ", which the Open Inference Protocol has no datatype for; leave it out "
                                               "of the requested outputs"));
}

}  // namespace portico
