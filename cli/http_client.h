#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "cli/client_security.h"

namespace portico {

struct HttpAnswer {
  int code = 0;
  std::string body;
};

struct HttpCall {
  /// Path and query.
  std::string target = "/";
  /// Empty: GET, else POST of JSON.
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  absl::Duration timeout = absl::Seconds(30);
  /// Over https where it says so; with its token.
  ClientSecurity security;
};

/// One HTTP/1.1 request to HOST:PORT on a connection of its own. Blocks. Any answer is OK, whatever its code;
/// UNAVAILABLE when nobody listens or the connection breaks, DEADLINE_EXCEEDED when the time is over.
absl::StatusOr<HttpAnswer> CallHttp(const std::string& address, const HttpCall& call);

}  // namespace portico
