#include "node/frontend/tfs_rest_path.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace portico {
namespace {

/// Takes what is in front of the next '/' or ':' from `rest`.
absl::string_view TakeSegment(absl::string_view* rest) {
  const size_t end = std::min(rest->find_first_of("/:"), rest->size());
  const absl::string_view segment = rest->substr(0, end);
  rest->remove_prefix(end);
  return segment;
}

}  // namespace

absl::StatusOr<TfsRestPath> ParseTfsRestPath(absl::string_view method, absl::string_view path) {
  const absl::Status malformed = absl::InvalidArgumentError(absl::StrCat("Malformed request: ", method, " ", path));
  absl::string_view rest = path;
  if (!absl::ConsumePrefix(&rest, "/v1/models")) return malformed;
  if (rest.empty() || rest == "/") return absl::InvalidArgumentError("Missing model name in request.");
  TfsRestPath parsed;
  if (!absl::ConsumePrefix(&rest, "/")) return malformed;
  parsed.ref.name = std::string(TakeSegment(&rest));
  if (parsed.ref.name.empty()) return malformed;
  if (absl::ConsumePrefix(&rest, "/versions/")) {
    const absl::string_view digits = TakeSegment(&rest);
    if (digits.empty() || !std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit)) return malformed;
    if (!absl::SimpleAtoi(digits, &parsed.ref.version)) {
      return absl::InvalidArgumentError(absl::StrCat("Failed to convert version: ", digits, " to numeric."));
    }
  } else if (absl::ConsumePrefix(&rest, "/labels/")) {
    parsed.ref.label = std::string(TakeSegment(&rest));
    if (parsed.ref.label.empty()) return malformed;
  }
  if (method == "POST") {
    if (rest != ":predict" && rest != ":classify" && rest != ":regress") return malformed;
    parsed.verb = std::string(rest.substr(1));
    return parsed;
  }
  parsed.metadata = absl::ConsumePrefix(&rest, "/metadata");
  if (!rest.empty()) return malformed;
  return parsed;
}

}  // namespace portico
