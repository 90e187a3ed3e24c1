#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "embedding/row_type.h"

namespace portico {

/// Which instructions row kernels use.
enum class Isa : uint8_t { kPortable, kAvx2, kAvx512 };
absl::string_view IsaName(Isa isa);

/// The arithmetic on rows for one instruction set, a function for each RowType. Constant and shared by all threads.
/// Those of another set differ in the last bits: what is multiplied and added may be rounded once or twice.
struct RowKernels {
  /// out[i] += weight * row[i] for `dim` values. `row` needs no alignment.
  using Add = void (*)(const char* row, float weight, size_t dim, float* out);
  /// The same of `count` rows, each times its weight; null weights: 1. Sums stay in registers from row to row.
  using AddRows = void (*)(const char* const* rows, const float* weights, size_t count, size_t dim, float* out);
  /// Writes EncodedBytes() of finite `values`; false where one does not fit the type.
  using Encode = bool (*)(const float* values, size_t dim, char* row);

  Isa isa;
  std::array<Add, kRowTypes> add;
  std::array<AddRows, kRowTypes> add_rows;
  std::array<Encode, kRowTypes> encode;

  /// The best for this processor.
  static const RowKernels& Best();
  /// Those for `isa`; null where this processor, or this build, has it not.
  static const RowKernels* For(Isa isa);
};

/// Writes EncodedBytes(type, values.size()) at `row`. INVALID_ARGUMENT for a NaN, an infinity, or a value that the type
/// cannot hold: names its position.
absl::Status EncodeRow(const RowKernels& kernels, RowType type, absl::Span<const float> values, char* row);
/// The values of a row, in place of what `out` held.
void DecodeRow(const RowKernels& kernels, RowType type, const char* row, absl::Span<float> out);

}  // namespace portico
