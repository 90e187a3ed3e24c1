#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

struct OrtStatus;

namespace portico {

/// What ONNX Runtime was doing when it failed: the same code of its own means different things then.
enum class OrtPhase {
  /// Reading and preparing a model: what it dislikes is the model.
  kCreate,
  /// Computing: what it dislikes is the request's tensors.
  kRun,
};

/// `code` is an OrtErrorCode. OK for ORT_OK.
absl::Status OrtError(OrtPhase phase, int code, absl::string_view message);

/// The same of a status of the C API, which is released; null is OK.
absl::Status TakeOrtStatus(OrtPhase phase, OrtStatus* status);

}  // namespace portico
