#pragma once

#include "absl/strings/string_view.h"

namespace portico {

/// Whether `model`, a serialized ModelProto, has an operator anywhere, in bodies and functions too, over which ONNX
/// Runtime ends the process (SIGFPE) when a tensor is empty: TopK, whose kernel of 1.30 divides by the number of rows.
bool DividesByRows(absl::string_view model);

}  // namespace portico
