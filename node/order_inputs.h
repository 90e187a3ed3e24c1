#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "models/package/signature.h"

namespace portico {

/// `named` in the order of the signature's inputs. INVALID_ARGUMENT with the messages of the TensorFlow Serving API
/// ("input size does not match signature: …") when one is missing, extra or given twice.
absl::StatusOr<std::vector<Tensor>> OrderInputs(const Signature& signature, std::vector<NamedTensor> named);

}  // namespace portico
