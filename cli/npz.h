#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"

namespace portico {

/// Reads the arrays that NumPy saved in one file (`numpy.savez`, `numpy.savez_compressed`), by the names they were
/// saved under, in the file's order; npy.h says which. At most 2 GiB in the file and unpacked, 1024 arrays.
/// INVALID_ARGUMENT for anything else, with the array's name.
absl::StatusOr<std::vector<NamedTensor>> ReadNpz(const std::string& path);
/// The same of a file's content; messages have no name of it.
absl::StatusOr<std::vector<NamedTensor>> ParseNpz(absl::string_view file);

}  // namespace portico
