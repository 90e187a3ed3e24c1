#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/servable_ref.h"
#include "base/tensor.h"
#include "codec/spliced_message.h"
#include "models/package/signature.h"

namespace portico {

/// tensorflow.serving.ModelSpec.
struct ModelSpecView {
  absl::string_view name;
  bool has_version = false;
  int64_t version = 0;
  absl::string_view label;
  absl::string_view signature;
};

/// Reads a serialised ModelSpec in place. False when malformed.
bool ReadModelSpec(absl::string_view bytes, ModelSpecView* spec);
/// Appends field `field` of a message: the ModelSpec of an answer.
void AppendModelSpec(uint32_t field, absl::string_view model, int64_t version, absl::string_view signature,
                     std::string* out);

/// What `spec` means; `has_spec` is whether the request has one. INVALID_ARGUMENT without spec or name; NOT_FOUND for a
/// negative version.
absl::StatusOr<ServableRef> RefOfModelSpec(bool has_spec, const ModelSpecView& spec);

/// A PredictRequest read in place: everything is a view of the message.
struct PredictRequestView {
  struct Input {
    absl::string_view name;
    /// Serialised; ReadTensorProto() reads it.
    absl::string_view tensor;
  };

  bool has_spec = false;
  ModelSpecView spec;
  absl::InlinedVector<Input, 4> inputs;
  absl::InlinedVector<absl::string_view, 4> output_filter;
};

/// INVALID_ARGUMENT for what is no such message, and for more than 1024 inputs or filters. Of inputs of one name the
/// last counts.
absl::StatusOr<PredictRequestView> ReadPredictRequest(absl::string_view message);

/// The inputs' tensors, views of what `origin` keeps alive where possible. INVALID_ARGUMENT "tensor parsing error:
/// NAME: …".
absl::StatusOr<std::vector<NamedTensor>> ReadPredictInputs(const PredictRequestView& request,
                                                           const Ref<TensorOrigin>& origin, uint64_t max_bytes);

/// Indexes of the outputs that `filter` names; all of them where it is empty. INVALID_ARGUMENT with the messages of the
/// TensorFlow Serving API for an unknown or repeated name.
absl::StatusOr<absl::InlinedVector<int, 8>> SelectOutputs(const Signature& signature,
                                                          absl::Span<const absl::string_view> filter);

/// A PredictResponse with `outputs[i]` for each i of `selected`. UNIMPLEMENTED for a dtype that TensorFlow does not
/// have.
absl::StatusOr<SplicedMessage> WritePredictResponse(absl::string_view model, int64_t version,
                                                    const Signature& signature, absl::Span<const int> selected,
                                                    absl::Span<const Tensor> outputs);

}  // namespace portico
