#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "hub/url.h"

namespace portico {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpGetOptions {
  /// Headers for a request to `url`; asked again for each server that a redirection leads to. May be null.
  std::function<HttpHeaders(const Url& url)> headers;
  absl::Duration connect_timeout = absl::Seconds(10);
  /// Nothing comes for so long: DEADLINE_EXCEEDED.
  absl::Duration idle_timeout = absl::Seconds(30);
  /// Of HttpGetText() and of errors with what they say: for all of it, also where it comes, but drop by drop.
  absl::Duration text_timeout = absl::Seconds(60);
  /// When all of it has to be there: DEADLINE_EXCEEDED.
  absl::Time end = absl::InfiniteFuture();
  int max_redirects = 5;
  /// Asked ten times a second while it waits: true ends it with CANCELLED. May be null.
  std::function<bool()> cancelled;
};

/// Gets what is at `url` from byte `offset` on and hands it to `sink` as it comes, in pieces; from byte 0 on where the
/// server cannot begin in the middle. Follows redirections, never from https to http. Blocks.
///
/// Errors name the URL: NOT_FOUND (404, 410), PERMISSION_DENIED (401, 403), UNAVAILABLE (5xx, 408, 429, nobody there,
/// a connection that breaks), DEADLINE_EXCEEDED, OUT_OF_RANGE (416: nothing from `offset` on), FAILED_PRECONDITION
/// (any other answer), or what `sink` said.
absl::Status HttpGet(const Url& url, const HttpGetOptions& options, uint64_t offset,
                     absl::FunctionRef<absl::Status(uint64_t at, absl::string_view bytes)> sink);

/// The same as a text of at most `max_bytes`; INVALID_ARGUMENT where it is longer, DEADLINE_EXCEEDED where it takes
/// longer than text_timeout.
absl::StatusOr<std::string> HttpGetText(const Url& url, const HttpGetOptions& options, uint64_t max_bytes);

}  // namespace portico
