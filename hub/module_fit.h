#pragma once

#include "absl/status/status.h"
#include "hub/manifest.h"

namespace portico {

/// FAILED_PRECONDITION, with what differs, unless `to` can stand in for `from` behind portals that have its digest: not
/// of another family, the same signatures (SignatureDifferences()), and inputs and outputs in the same order, since
/// such portals pass them by position.
absl::Status CheckStandsIn(const Manifest& from, const Manifest& to);

}  // namespace portico
