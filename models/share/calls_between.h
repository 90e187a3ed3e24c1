#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/digest.h"
#include "models/package/model.h"

namespace portico {

/// That one of several models has a portal to another one.
struct CallBetween {
  /// Places among the models.
  int caller = -1;
  int called = -1;
  /// As the caller names what it calls.
  std::string target;
  Digest digest;
};

/// Which of `models` call which by digest, each pair once. INVALID_ARGUMENT for portals that no node would take, and as
/// ModelDigest().
absl::StatusOr<std::vector<CallBetween>> CallsBetween(absl::Span<const Model* const> models);

}  // namespace portico
