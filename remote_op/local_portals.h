#pragma once

#include <memory>

#include "models/split/portal_ops.h"

namespace portico {

/// Portals of this folder over targets in this process, without a mesh: what they decide for a request is what they
/// would decide in one. What depends on the time is left out: audits and brown-outs of a Cascade, `k_min` of Experts.
/// No policies: what fails, fails.
std::unique_ptr<PortalOps> NewLocalPortals();

}  // namespace portico
