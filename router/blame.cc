#include "router/blame.h"

namespace portico {

Blame BlameOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return Blame::kNone;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:
      return Blame::kFault;
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return Blame::kBusy;
    default:
      return Blame::kRequest;
  }
}

bool MayRetry(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kNotFound:  // Not loaded there: a replica that has just begun, say.
    case absl::StatusCode::kDataLoss:  // A broken block of a table, there alone.
      return true;
    default:
      return false;
  }
}

}  // namespace portico
