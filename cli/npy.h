#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"

namespace portico {

/// What stands in front of the elements of an array that NumPy saved (`numpy.save`, format 1 to 3).
struct NpyHeader {
  DType dtype = DType::kInvalid;
  Shape shape;
  /// Where the elements begin in the file.
  uint64_t data_offset = 0;
  /// Of text (kString) the bytes of an element, and whether its characters take four of them; else 0.
  uint64_t text_bytes = 0;
  bool utf32 = false;
};

/// `begin`: how the file begins, at least kMaxNpyHeaderBytes of it or all. INVALID_ARGUMENT where it is not
/// little-endian numbers, booleans or text in C order, and for longer headers.
absl::StatusOr<NpyHeader> ParseNpyHeader(absl::string_view begin);
inline constexpr size_t kMaxNpyHeaderBytes = 64 << 10;

/// Reads an array that NumPy saved (`numpy.save`, format 1 to 3): little-endian numbers, booleans and text (`U`, which
/// becomes UTF-8, and `S`) in C order, at most 2 GiB. INVALID_ARGUMENT for anything else.
absl::StatusOr<Tensor> ReadNpy(const std::string& path);
/// The same of a file's content; messages have no name of it.
absl::StatusOr<Tensor> ParseNpy(absl::string_view file);

}  // namespace portico
