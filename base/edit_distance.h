#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"

namespace portico {

/// How many bytes have to be put in, taken out or replaced to make one of the other (Levenshtein): for what was
/// probably meant. Takes time and memory by the product and the length of the two.
size_t EditDistance(absl::string_view a, absl::string_view b);

}  // namespace portico
