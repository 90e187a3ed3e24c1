#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace portico {

/// A URL of a web server: http://HOST:PORT/PATH?QUERY, or https://.
struct Url {
  bool tls = false;
  /// A name or an address; IPv6 without brackets.
  std::string host;
  uint16_t port = 80;
  /// Path and query, with a slash in front; percent-encoded.
  std::string target = "/";

  /// "127.0.0.1:8000", as the header Host has it; the scheme's own port is left out.
  std::string Authority() const;
  std::string ToString() const;
  /// Whether both lead to one server, so that what is meant for one may go to the other.
  bool IsSameServer(const Url& other) const { return tls == other.tls && host == other.host && port == other.port; }
  /// The host is this machine, by address or as "localhost".
  bool IsLoopback() const;
};

/// INVALID_ARGUMENT "URL 'x': got, want". User names in URLs are refused.
absl::StatusOr<Url> ParseUrl(absl::string_view text);

/// Where a redirection of `from` leads: another URL, or a path.
absl::StatusOr<Url> ResolveUrl(const Url& from, absl::string_view location);

/// Every byte but letters, digits, `-`, `.`, `_`, `~` (and `/` where `keep_slashes`) as %XX.
std::string PercentEncode(absl::string_view text, bool keep_slashes);

}  // namespace portico
