#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "absl/status/status.h"

namespace portico {

/// Which of the versions of a model are served.
struct VersionPolicy {
  enum class Kind { kLatest, kAll, kSpecific };
  Kind kind = Kind::kLatest;
  /// Of kLatest: how many; at least 1.
  int num_versions = 1;
  /// Of kSpecific.
  std::vector<int64_t> versions;
  friend bool operator==(const VersionPolicy&, const VersionPolicy&) = default;
};

/// INVALID_ARGUMENT where the policy asks for less than one version or for one below 0.
absl::Status CheckVersionPolicy(const VersionPolicy& policy);

/// Those of `listed` (rising) that the policy asks for.
std::set<int64_t> ChooseVersions(const VersionPolicy& policy, const std::vector<int64_t>& listed);

}  // namespace portico
