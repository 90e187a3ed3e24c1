#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace portico {

/// The text of a mesh file with another condition, `when`, for stage `stage` of cascade `model`; everything else,
/// comments included, is as it was. INVALID_ARGUMENT "FILE:LINE: …" where the condition stands in a way that it cannot
/// be replaced safely (a block, an alias that others use): the message has the line to write by hand.
absl::StatusOr<std::string> WithCondition(const std::string& text, const std::string& file, const std::string& model,
                                          size_t stage, const std::string& when);

}  // namespace portico
