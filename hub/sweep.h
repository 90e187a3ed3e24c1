#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/digest.h"
#include "hub/cache.h"
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
  /// How many there were.
  size_t modules = 0;
  struct Kept {
    Handle handle;
    /// Who uses it.
    std::set<std::string> users;
  };
  std::vector<Manifest> removed;
  std::vector<Kept> kept;
  /// Left alone, because another process is pulling them.
  std::vector<Handle> busy;
  uint64_t removed_bytes() const;
};

/// Which of `modules` nobody uses: neither `pins` names them, nor does a portal of a module that is used call them.
/// Where `asked` is not empty, these alone are to be removed: NOT_FOUND where there is no such module,
/// FAILED_PRECONDITION, with its users, where one is used.
absl::StatusOr<SweepPlan> PlanSweep(const std::vector<Manifest>& modules, const ModulePins& pins,
                                    const std::vector<Handle>& asked);

struct SweepOptions {
  ModulePins pins;
  /// Not empty: these alone.
  std::vector<Handle> asked;
  /// Plan, and remove nothing.
  bool dry_run = false;
};

/// Removes what PlanSweep() says from the store in `root`, under its lock: each is gone at once, and from the list.
/// Also what publications that were killed left behind. Nothing is removed where a manifest cannot be read. After an
/// error in the middle the list is of what is left.
absl::StatusOr<SweepPlan> SweepStore(const std::string& root, const SweepOptions& options);

/// The same in a cache, with downloads that were given up and that `pins` does not name. Each module is removed under
/// its own lock: what a Pull() is busy with stays.
absl::StatusOr<SweepPlan> SweepCache(const HubCache& cache, const SweepOptions& options);

}  // namespace portico
