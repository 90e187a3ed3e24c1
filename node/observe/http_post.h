#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace portico {

/// Where a node sends what it tells of itself: "http://HOST[:PORT][/PATH]" in pieces.
struct HttpTarget {
  std::string host;
  std::string port;
  /// Without a slash at its end; empty: the root.
  std::string path;

  /// INVALID_ARGUMENT for anything else. "[::1]" is the host "::1"; the port is 80 where none is said.
  static absl::StatusOr<HttpTarget> Parse(absl::string_view url);
};

/// POSTs JSON on a connection of its own, and reads the answer's head and body (which must be short). Blocks for
/// `timeout` at most, and for the look-up of a name. Returns the answer's code; UNAVAILABLE when nobody listens or the
/// connection breaks, DEADLINE_EXCEEDED when the time is over.
absl::StatusOr<int> PostJson(const HttpTarget& target, const std::string& body, absl::Duration timeout);

}  // namespace portico
