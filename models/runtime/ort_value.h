#pragma once

#include "absl/status/statusor.h"
#include "base/ref.h"
#include "base/tensor.h"

struct OrtValue;

namespace portico {

/// An OrtValue over the memory of `tensor`, which must outlive it; strings are copied into ONNX Runtime's own form.
/// REQUIRES: tensor.aligned(). The caller releases the value.
absl::StatusOr<OrtValue*> NewOrtValue(const Tensor& tensor);

/// Takes `value`, the result of a run, as a tensor that keeps it and `owner` alive; strings are copied out at once.
/// `owner`: what the value's memory may belong to (the session and its weights). INTERNAL when it is not a dense
/// tensor.
absl::StatusOr<Tensor> TakeOrtValue(OrtValue* value, const Ref<RefCounted>& owner);

}  // namespace portico
