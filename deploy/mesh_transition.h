#pragma once

#include "absl/status/status.h"
#include "router/revision.h"

namespace portico {

/// Whether a running mesh can go from one revision to the next: a version of a model that both pin has the same digest,
/// since a version that serves never changes. INVALID_ARGUMENT naming model, version and both digests.
absl::Status CheckTransition(const Revision& from, const Revision& to);

}  // namespace portico
