#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/tensor.h"

namespace portico {

/// Appends the object of a tensor in the JSON of the Open Inference Protocol's REST API: with its numbers, or, where
/// `binary`, with how many bytes of it (AppendV2Raw()) follow behind the JSON. `kind` is "input" or "output", for
/// messages. FAILED_PRECONDITION for strings that JSON cannot hold; `remedy` ends its message. REQUIRES: a dtype that
/// the protocol has.
absl::Status AppendV2JsonTensor(absl::string_view kind, absl::string_view name, const Tensor& tensor, bool binary,
                                absl::string_view remedy, std::string* out);

}  // namespace portico
