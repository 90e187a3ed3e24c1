#pragma once

#include "absl/status/statusor.h"
#include "base/tensor.h"

namespace tensorflow {
class TensorProto;
}

namespace portico {

/// A tensor as a client of the TensorFlow Serving API writes it (tensor_content; string_val for strings). Written
/// apart from the server's own conversion, so that the two check each other. REQUIRES: the API has the dtype.
tensorflow::TensorProto ToTensorFlow(const Tensor& tensor);

/// INVALID_ARGUMENT when shape and content do not fit.
absl::StatusOr<Tensor> FromTensorFlow(const tensorflow::TensorProto& proto);

}  // namespace portico
