#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "hub/cache.h"
#include "hub/handle.h"
#include "hub/manifest.h"
#include "hub/store.h"
#include "models/graph/portal_target.h"

namespace portico {

/// The module of `entries` that has the digest that `target` asks for, of several the one of its name; nullptr where
/// there is none, and for a target without a digest: that may be any version.
const ModuleEntry* FindCalled(const PortalTarget& target, absl::Span<const ModuleEntry> entries);

/// The modules of a cache, whatever store they came from; those whose manifests cannot be read are left out.
absl::StatusOr<std::vector<ModuleEntry>> ListCached(const HubCache& cache);

/// Modules that a module calls, and that these call.
struct NestedModules {
  /// In the order in which they were found, each once.
  std::vector<HubCache::Pulled> pulled;
  /// Targets that were not pulled, who calls them and why not: "'acme/inner' of digest …, which acme/encoder/1 calls:
  /// /srv/hub does not have it; …", or that it cannot be listed, or that what it lists as this is not. They may be
  /// models of a mesh that nobody published. Such without a digest are not listed.
  std::vector<std::string> missing;
};

/// Whether the cache has all that `module` calls by digest, and so on, as far as its manifests say: files are not
/// looked at.
absl::StatusOr<bool> HasNested(const HubCache& cache, const Manifest& module);

/// Pulls what `module` calls by digest, and so on; what is in the cache comes from there. Errors as of
/// HubCache::Pull(); CANCELLED also of Store::List(), which is asked only where something is not in the cache.
absl::StatusOr<NestedModules> PullNested(HubCache& cache, Store& store, const Manifest& module);

}  // namespace portico
