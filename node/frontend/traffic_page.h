#pragma once

#include <string>

#include "node/shadows.h"
#include "router/traffic_arms.h"

namespace portico {

/// What /debug/traffic says, as JSON: what each arm has done in this process, and where shadows disagreed most.
std::string TrafficJson(const TrafficArms& arms, const Shadows& shadows);

}  // namespace portico
