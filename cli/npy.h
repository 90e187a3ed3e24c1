#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"

namespace portico {

/// Reads an array that NumPy saved (`numpy.save`, format 1 to 3): little-endian numbers, booleans and text (`U`, which
/// becomes UTF-8, and `S`) in C order, at most 2 GiB. INVALID_ARGUMENT for anything else.
absl::StatusOr<Tensor> ReadNpy(const std::string& path);
/// The same of a file's content; messages have no name of it.
absl::StatusOr<Tensor> ParseNpy(absl::string_view file);

}  // namespace portico
