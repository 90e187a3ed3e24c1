#include "transport/http_status.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "codec/json_walk.h"

namespace portico {
namespace {

constexpr size_t kMaxMessageBytes = 1024;

absl::StatusCode CodeOf(int code) {
  switch (code) {
    case 401:
      return absl::StatusCode::kUnauthenticated;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
      return absl::StatusCode::kNotFound;
    case 405:
    case 501:
      return absl::StatusCode::kUnimplemented;
    case 408:
    case 504:
      return absl::StatusCode::kDeadlineExceeded;
    case 409:
      return absl::StatusCode::kAborted;
    case 412:
      return absl::StatusCode::kFailedPrecondition;
    case 429:
      return absl::StatusCode::kResourceExhausted;
    case 499:
      return absl::StatusCode::kCancelled;
    case 502:
    case 503:
      return absl::StatusCode::kUnavailable;
    default:
      return code >= 400 && code < 500 ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kInternal;
  }
}

/// `error` of TensorFlow Serving, Triton and MLServer; `detail` of servers made with FastAPI.
std::string MessageOf(absl::string_view body) {
  std::string message;
  const absl::Status read =
      ReadJsonBody(body, [&](absl::string_view key, simdjson::ondemand::value value) -> absl::Status {
        if (key != "error" && key != "detail") return absl::OkStatus();
        return ReadJsonText(key, value, &message);
      });
  if (!read.ok() || message.empty()) message = std::string(absl::StripAsciiWhitespace(body));
  message.resize(std::min(message.size(), kMaxMessageBytes));
  // It goes on in statuses, which gRPC writes as UTF-8.
  if (!simdjson::validate_utf8(message.data(), message.size())) message = "a body that is not UTF-8";
  return message;
}

}  // namespace

absl::Status StatusOfHttp(int code, absl::string_view body) {
  return absl::Status(CodeOf(code), absl::StrCat("the server answered HTTP ", code, ": ", MessageOf(body)));
}

}  // namespace portico
