#pragma once

#include "absl/status/status.h"
#include "models/graph/graph_plan.h"
#include "router/router.h"

namespace portico {

/// INVALID_ARGUMENT where `spec`, whose outputs are those of its target, could never be called: no target, no outputs,
/// or, where tensors go by name, a name twice.
absl::Status CheckPortalSpec(const PortalSpec& spec);

/// What the portal calls: by position where it knows the digest, else by name.
RouteTarget RouteTargetOf(const PortalSpec& spec);

}  // namespace portico
