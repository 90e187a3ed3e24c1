#include "codec/json_text.h"
#include "node/frontend/http_server.h"

namespace portico {

int HttpCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 200;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kAlreadyExists:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kCancelled:
      return 499;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

HttpReply ErrorReply(int code, absl::string_view message) {
  HttpReply reply;
  reply.code = code;
  reply.body = ErrorJson(message);
  return reply;
}

HttpReply ErrorReply(const absl::Status& status) {
  HttpReply reply = ErrorReply(HttpCode(status), status.message());
  if (reply.code == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"portico\"");
  return reply;
}

}  // namespace portico
