#pragma once

#include "absl/strings/string_view.h"
#include "router/resolver.h"

namespace portico {

/// Candidate::distance of `peer` for a node in `own_zone`: from the scheme and host of its URL, else from its zone.
int DistanceOf(const PeerAddress& peer, absl::string_view own_zone);

}  // namespace portico
