#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// How the numbers of an embedding row are stored. The numbers stand in shard files: never reuse one.
enum class RowType : uint8_t {
  kFloat32 = 0,
  kFloat16 = 1,
  kBfloat16 = 2,
  /// A scale and a bias (two float32) in front of unsigned bytes: value = byte * scale + bias.
  kInt8 = 3,
  /// The same with two values to a byte, the even one in the low half; an odd last one leaves the high half 0.
  kInt4 = 4,
};
inline constexpr int kRowTypes = 5;
/// Of a row.
inline constexpr size_t kMaxDim = 16384;

/// "float32", "float16", "bfloat16", "int8", "int4".
absl::string_view RowTypeName(RowType type);
/// INVALID_ARGUMENT, which lists the names, for any other word.
absl::StatusOr<RowType> RowTypeFromName(absl::string_view name);

/// Bytes of `dim` numbers, scale and bias included.
constexpr size_t EncodedBytes(RowType type, size_t dim) {
  constexpr size_t kScaleAndBias = 2 * sizeof(float);
  switch (type) {
    case RowType::kFloat32:
      return 4 * dim;
    case RowType::kFloat16:
    case RowType::kBfloat16:
      return 2 * dim;
    case RowType::kInt8:
      return kScaleAndBias + dim;
    case RowType::kInt4:
      return kScaleAndBias + (dim + 1) / 2;
  }
  return 0;
}

}  // namespace portico
