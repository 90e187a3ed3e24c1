#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/servable_ref.h"
#include "base/tensor.h"
#include "codec/spliced_message.h"
#include "codec/v2_tensor.h"
#include "models/package/signature.h"
#include "node/frontend/v2_parameters.h"

namespace portico {

/// An inference.ModelInferRequest read in place: everything but parameters is a view of the message.
struct V2InferRequestView {
  struct Input {
    V2InputHead head;
    /// Serialised InferTensorContents; ReadV2Contents() reads it.
    absl::string_view contents;
    bool has_contents = false;
  };

  absl::string_view model;
  absl::string_view version;
  absl::string_view id;
  V2RequestParameters parameters;
  absl::InlinedVector<Input, 4> inputs;
  /// Names of the requested outputs.
  absl::InlinedVector<absl::string_view, 4> outputs;
  absl::InlinedVector<absl::string_view, 4> raw;
};

/// INVALID_ARGUMENT for what is no such message, for more than 1024 inputs, outputs or parameters, and for a datatype
/// that is none; UNIMPLEMENTED for parameters of what is not served. Whatever the result, `id` is set where it was
/// read.
absl::Status ReadV2InferRequest(absl::string_view message, V2InferRequestView* request);

/// `version` is a number, or empty for the newest. INVALID_ARGUMENT otherwise, and where there is no name.
absl::StatusOr<ServableRef> RefOfV2(absl::string_view model, absl::string_view version);

/// The inputs' tensors, views of what `origin` keeps alive where possible. INVALID_ARGUMENT where raw and typed
/// contents are mixed, or do not fit.
absl::StatusOr<std::vector<NamedTensor>> ReadV2Inputs(const V2InferRequestView& request,
                                                      const Ref<TensorOrigin>& origin, uint64_t max_bytes);

/// Who answers what.
struct V2Answer {
  absl::string_view model;
  int64_t version = 0;
  absl::string_view id;
  /// Portals that were answered by a fallback, as the response's parameter `portico_fallback`.
  absl::string_view fallbacks = {};
  /// Rows that portals' targets did not answer, likewise as `portico_rows`.
  absl::string_view rows = {};
};

/// A ModelInferResponse with `outputs[i]` for each i of `selected`, raw. UNIMPLEMENTED for a dtype that the protocol
/// does not have.
absl::StatusOr<SplicedMessage> WriteV2InferResponse(const V2Answer& answer, const Signature& signature,
                                                    absl::Span<const int> selected, absl::Span<const Tensor> outputs);

/// A ModelStreamInferResponse around `response`, or one that says what went wrong with request `id`.
SplicedMessage WrapV2StreamResponse(SplicedMessage response);
SplicedMessage WriteV2StreamError(const absl::Status& status, absl::string_view id);

}  // namespace portico
