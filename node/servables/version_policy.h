#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "node/servables/model_config.h"

namespace portico {

/// INVALID_ARGUMENT where the policy asks for less than one version or for one below 0.
absl::Status CheckVersionPolicy(const VersionPolicy& policy);

/// Those of `listed` (rising) that the policy asks for.
std::set<int64_t> ChooseVersions(const VersionPolicy& policy, const std::vector<int64_t>& listed);

}  // namespace portico
