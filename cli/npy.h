#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"

namespace portico {

/// Reads an array that NumPy saved (`numpy.save`, format 1 to 3): little-endian numbers and booleans in C order, at
/// most 2 GiB. INVALID_ARGUMENT for anything else.
absl::StatusOr<Tensor> ReadNpy(const std::string& path);

}  // namespace portico
