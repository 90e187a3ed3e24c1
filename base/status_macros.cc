#include "base/status_macros.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

absl::Status WithCodeAndMessage(absl::StatusCode code, std::string message, const absl::Status& from) {
  absl::Status result(code, message);
  from.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) { result.SetPayload(url, payload); });
  return result;
}

}  // namespace

absl::Status WithContext(absl::string_view context, const absl::Status& status) {
  if (status.ok()) return status;
  return WithCodeAndMessage(status.code(), absl::StrCat(context, ": ", status.message()), status);
}

absl::Status FromInnerHop(absl::string_view hop, const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return status;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kOutOfRange:  // An id that no table has: the client's own number.
      return WithContext(hop, status);
    case absl::StatusCode::kInternal:
      return WithContext(hop, status);
    default:
      return WithCodeAndMessage(
          absl::StatusCode::kInternal,
          absl::StrCat(hop, ": ", absl::StatusCodeToString(status.code()), ": ", status.message()), status);
  }
}

}  // namespace portico
