#include "base/version_policy.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace portico {

absl::Status CheckVersionPolicy(const VersionPolicy& policy) {
  if (policy.kind == VersionPolicy::Kind::kLatest && policy.num_versions < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("versions: got the latest ", policy.num_versions, ", want at least 1"));
  }
  if (policy.kind != VersionPolicy::Kind::kSpecific) return absl::OkStatus();
  if (policy.versions.empty()) {
    return absl::InvalidArgumentError("versions: got an empty list of specific versions, want at least one");
  }
  for (const int64_t version : policy.versions) {
    if (version >= 0) continue;
    return absl::InvalidArgumentError(absl::StrCat("versions: got version ", version, ", want 0 or more"));
  }
  return absl::OkStatus();
}

std::set<int64_t> ChooseVersions(const VersionPolicy& policy, const std::vector<int64_t>& listed) {
  switch (policy.kind) {
    case VersionPolicy::Kind::kAll:
      return {listed.begin(), listed.end()};
    case VersionPolicy::Kind::kLatest: {
      const size_t count = std::min(listed.size(), static_cast<size_t>(std::max(policy.num_versions, 1)));
      return {listed.end() - static_cast<ptrdiff_t>(count), listed.end()};
    }
    case VersionPolicy::Kind::kSpecific:
      break;
  }
  std::set<int64_t> chosen;
  for (const int64_t version : policy.versions) {
    if (std::binary_search(listed.begin(), listed.end(), version)) chosen.insert(version);
  }
  return chosen;
}

}  // namespace portico
