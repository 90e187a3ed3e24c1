#include "base/dtype.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace portico {
namespace {

struct Row {
  absl::string_view name;
  uint8_t bits;
  uint8_t alignment;
};

// Indexed by the DType's number.
constexpr std::array<Row, kMaxDType + 1> kRows = {{
    {"invalid", 0, 1},        {"float32", 32, 4},     {"uint8", 8, 1},          {"int8", 8, 1},
    {"uint16", 16, 2},        {"int16", 16, 2},       {"int32", 32, 4},         {"int64", 64, 8},
    {"string", 0, 8},         {"bool", 8, 1},         {"float16", 16, 2},       {"float64", 64, 8},
    {"uint32", 32, 4},        {"uint64", 64, 8},      {"complex64", 64, 4},     {"complex128", 128, 8},
    {"bfloat16", 16, 2},      {"float8e4m3fn", 8, 1}, {"float8e4m3fnuz", 8, 1}, {"float8e5m2", 8, 1},
    {"float8e5m2fnuz", 8, 1}, {"uint4", 4, 1},        {"int4", 4, 1},           {"float4e2m1", 4, 1},
}};

const Row& RowOf(DType dtype) {
  const auto number = static_cast<size_t>(dtype);
  return kRows[number < kRows.size() ? number : 0];
}

}  // namespace

int BitsPerElement(DType dtype) { return RowOf(dtype).bits; }

uint64_t BytesFor(DType dtype, uint64_t elements) {
  const uint64_t bits = RowOf(dtype).bits;
  return bits < 8 ? (elements * bits + 7) / 8 : elements * (bits / 8);
}

size_t AlignmentOf(DType dtype) { return RowOf(dtype).alignment; }

absl::string_view DTypeName(DType dtype) { return RowOf(dtype).name; }

absl::StatusOr<DType> DTypeFromNumber(int64_t number) {
  if (number < 1 || number > kMaxDType) {
    return absl::InvalidArgumentError(absl::StrCat("dtype: got number ", number, ", want 1 to ", kMaxDType));
  }
  return static_cast<DType>(number);
}

absl::StatusOr<DType> DTypeFromName(absl::string_view name) {
  std::string names;
  for (size_t i = 1; i < kRows.size(); ++i) {
    if (kRows[i].name == name) return static_cast<DType>(i);
    absl::StrAppend(&names, i == 1 ? "" : ", ", kRows[i].name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("dtype: got '", absl::CHexEscape(name.substr(0, 80)), "', want one of ", names));
}

}  // namespace portico
