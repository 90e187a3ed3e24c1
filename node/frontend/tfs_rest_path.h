#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/servable_ref.h"

namespace portico {

/// A URL of the TensorFlow Serving REST API, taken apart.
struct TfsRestPath {
  ServableRef ref;
  /// "predict", "classify" or "regress" of a POST; empty for a GET.
  std::string verb;
  /// GET …/metadata.
  bool metadata = false;
};

/// Reads /v1/models/NAME[/versions/N|/labels/L] followed by :VERB (POST) or [/metadata] (GET, HEAD). INVALID_ARGUMENT
/// with the messages of that API for anything else.
absl::StatusOr<TfsRestPath> ParseTfsRestPath(absl::string_view method, absl::string_view path);

}  // namespace portico
