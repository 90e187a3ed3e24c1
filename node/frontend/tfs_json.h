#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "models/package/signature.h"

namespace portico {

/// The body of a REST predict request, read.
struct PredictJson {
  const Signature* signature = nullptr;
  /// `instances` → `predictions`; otherwise `inputs` → `outputs`.
  bool row_format = false;
  /// In the signature's order.
  std::vector<Tensor> inputs;
};

/// Reads both formats of the TensorFlow Serving REST API, JSON straight into tensor memory. `find` gives the signature
/// of a name ("" for the default), or null. NaN, Infinity and -Infinity may stand for numbers. INVALID_ARGUMENT for
/// whatever is wrong with the body; UNIMPLEMENTED for an input whose dtype JSON has no form for. REQUIRES:
/// HttpRequest::kBodyPadding readable bytes behind `body`.
absl::StatusOr<PredictJson> ReadPredictJson(absl::string_view body,
                                            absl::FunctionRef<const Signature*(absl::string_view)> find);

/// The body of the answer, of the same format as the request. INVALID_ARGUMENT in row format where outputs don't share
/// dim 0; FAILED_PRECONDITION for strings that are not UTF-8 and may not be base64; UNIMPLEMENTED as above.
absl::StatusOr<std::string> WritePredictJson(const Signature& signature, absl::Span<const Tensor> outputs,
                                             bool row_format);

}  // namespace portico
