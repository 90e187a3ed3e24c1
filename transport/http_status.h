#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace portico {

/// What an HTTP answer means that is not 200: its code as the nearest of ours, with the `error` of a JSON body, or the
/// beginning of another one. REQUIRES: kJsonPadding readable bytes behind `body`.
absl::Status StatusOfHttp(int code, absl::string_view body);

}  // namespace portico
