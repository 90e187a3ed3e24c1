#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"

namespace portico::examples {

/// Square images of `side` pixels a side, row by row from 0 to 1, next to each other in characters, the more ink the
/// higher; a line of text below each.
std::string DrawImages(absl::Span<const std::vector<float>> images, int side, const std::vector<std::string>& captions);

}  // namespace portico::examples
