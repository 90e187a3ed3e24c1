#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/dtype.h"

namespace portico {

/// The DType that the Open Inference Protocol calls `name` ("FP32", "BYTES", ...). INVALID_ARGUMENT for anything else.
absl::StatusOr<DType> DTypeFromV2(absl::string_view name);

/// The protocol's word for `dtype`; empty where it has none.
absl::string_view V2TypeName(DType dtype);

/// UNIMPLEMENTED naming the output where the protocol has no word for its dtype.
absl::Status CheckV2Output(absl::string_view name, DType dtype);

}  // namespace portico
