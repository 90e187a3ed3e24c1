#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/dtype.h"

namespace portico {

/// TensorFlow's number of `dtype` (types.proto). UNIMPLEMENTED where TensorFlow has no such type.
absl::StatusOr<int> TfDataType(DType dtype);

/// The DType of TensorFlow's number. INVALID_ARGUMENT for quantised, resource and reference types and for what is no
/// type.
absl::StatusOr<DType> DTypeFromTf(int64_t number);

/// TensorFlow's word for it, as its messages spell it: "float", "int64", "half"; DTypeName() where it has none.
absl::string_view TfTypeName(DType dtype);

}  // namespace portico
