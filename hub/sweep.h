#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/digest.h"
#include "hub/handle.h"
#include "hub/manifest.h"

namespace portico {

/// How folders in a store begin that a publication or a removal works in; whoever holds the lock may remove them.
inline constexpr char kStagingPrefix[] = ".staging-";

/// What meshes need: modules by handle, and by the digests that models serve or portals call. Values say who needs it.
struct ModulePins {
  std::map<Handle, std::set<std::string>> handles;
  std::map<Digest, std::set<std::string>> digests;
};

struct SweepPlan {
  struct Kept {
    Handle handle;
    /// Who uses it.
    std::set<std::string> users;
  };
  std::vector<Manifest> removed;
  std::vector<Kept> kept;
  uint64_t removed_bytes() const;
};

/// Which of `modules` nobody uses: neither `pins` names them, nor does a portal of a module that is used call them.
/// Where `asked` is not empty, these alone are to be removed: NOT_FOUND where there is no such module,
/// FAILED_PRECONDITION, with its users, where one is used.
absl::StatusOr<SweepPlan> PlanSweep(const std::vector<Manifest>& modules, const ModulePins& pins,
                                    const std::vector<Handle>& asked);

/// The manifests of a store's folder, or of the folder of a cache's modules.
absl::StatusOr<std::vector<Manifest>> ReadManifests(const std::string& root);

/// Removes modules from the store in `root`: each is gone at once, and from the list. Also what publications that were
/// killed left behind.
absl::Status RemoveModules(const std::string& root, const std::vector<Handle>& handles);

}  // namespace portico
