#include "models/runtime/ort_status.h"

#include <onnxruntime_c_api.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace portico {
namespace {

absl::StatusCode CodeOf(OrtPhase phase, int code, absl::string_view message) {
  switch (code) {
    case ORT_OK:
      return absl::StatusCode::kOk;
    case ORT_INVALID_ARGUMENT:
    case ORT_INVALID_PROTOBUF:
    case ORT_INVALID_GRAPH:
    case ORT_NO_MODEL:
      return absl::StatusCode::kInvalidArgument;
    case ORT_NO_SUCHFILE:
      return phase == OrtPhase::kCreate ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kInternal;
    case ORT_NOT_IMPLEMENTED:
      return absl::StatusCode::kUnimplemented;
    default:
      break;
  }
  // Allocation failures have no code of their own.
  if (absl::StrContains(message, "Failed to allocate memory") || absl::StrContains(message, "bad_alloc")) {
    return absl::StatusCode::kResourceExhausted;
  }
  // FAIL is how the loader reports a model it refuses, and how kernels report what they were given.
  if (code == ORT_FAIL) return absl::StatusCode::kInvalidArgument;
  return phase == OrtPhase::kCreate ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kInternal;
}

}  // namespace

absl::Status OrtError(OrtPhase phase, int code, absl::string_view message) {
  return absl::Status(CodeOf(phase, code, message), absl::StrCat("ONNX Runtime: ", message));
}

absl::Status TakeOrtStatus(OrtPhase phase, OrtStatus* status) {
  if (status == nullptr) return absl::OkStatus();
  const OrtApi& api = *OrtGetApiBase()->GetApi(ORT_API_VERSION);
  absl::Status result = OrtError(phase, api.GetErrorCode(status), api.GetErrorMessage(status));
  api.ReleaseStatus(status);
  return result;
}

}  // namespace portico
