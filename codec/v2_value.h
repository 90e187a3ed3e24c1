#pragma once

#include <cstdint>
#include <variant>

#include "absl/strings/string_view.h"

namespace portico {

/// The value of a parameter of the Open Inference Protocol, whichever wire it came by. Without one (null): monostate.
using V2Value = std::variant<std::monostate, bool, int64_t, uint64_t, double, absl::string_view>;

}  // namespace portico
