#include "hub/sweep.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/file_lock.h"
#include "base/status_macros.h"
#include "base/sync_folder.h"
#include "hub/local_store.h"
#include "hub/store.h"

namespace portico {
namespace {

namespace fs = std::filesystem;

using Users = std::set<std::string>;

/// Who uses each of the modules that are used.
std::map<Handle, Users> FindUsers(const std::vector<Manifest>& modules, const ModulePins& pins) {
  std::map<Handle, Users> used;
  std::deque<const Manifest*> open;
  const auto add = [&](const Manifest& module, const Users& users) {
    const auto [place, is_new] = used.try_emplace(module.handle);
    place->second.insert(users.begin(), users.end());
    if (is_new) open.push_back(&module);
  };
  for (const Manifest& module : modules) {
    if (const auto users = pins.handles.find(module.handle); users != pins.handles.end()) add(module, users->second);
    if (const auto users = pins.digests.find(module.digest); users != pins.digests.end()) add(module, users->second);
  }
  for (; !open.empty(); open.pop_front()) {
    for (const PortalTarget& portal : open.front()->portals) {
      for (const Manifest& module : modules) {
        // A portal without a digest may mean any version of its target.
        const bool called =
            portal.digest.empty() ? module.handle.Model() == portal.name : module.digest == portal.digest;
        if (called) add(module, {absl::StrCat("module '", open.front()->handle.ToString(), "'")});
      }
    }
  }
  return used;
}

absl::Status Unreadable(const std::string& root, const Handle& handle, const absl::Status& why) {
  return WithContext(absl::StrCat("handle '", handle.ToString(), "': what it calls is not known; remove '",
                                  ModuleFolder(root, handle).string(), "' if nobody uses it"),
                     why);
}

/// The folders in front of `folder`, where it was the last version and its publisher's last module. rmdir() leaves
/// links and what is not empty.
void RemoveEmptyParents(const fs::path& folder) {
  if (rmdir(folder.parent_path().c_str()) == 0) rmdir(folder.parent_path().parent_path().c_str());
}

/// Takes the module out of sight, in one step and without new folders: the disk may be full. REQUIRES: RemoveStaging()
/// since it was done with this handle before.
absl::Status MoveAway(const std::string& root, const Handle& handle) {
  const fs::path folder = ModuleFolder(root, handle);
  const std::string to =
      absl::StrCat(root, "/", kStagingPrefix, handle.publisher, "--", handle.name, "--", handle.version);
  if (rename(folder.c_str(), to.c_str()) != 0) return ErrnoStatus(errno, "remove", folder.string());
  RETURN_IF_ERROR(SyncFolder(folder.parent_path().string()));
  RemoveEmptyParents(folder);
  return absl::OkStatus();
}

/// What was moved away, and what publications and removals that were killed left. REQUIRES: the lock is held.
absl::Status RemoveStaging(const std::string& root) {
  std::error_code error;
  absl::Status status;
  for (fs::directory_iterator entry(root, error); !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code failed;
    if (!absl::StartsWith(entry->path().filename().string(), kStagingPrefix)) continue;
    fs::remove_all(entry->path(), failed);
    if (failed) status.Update(ErrnoStatus(failed.value(), "remove", entry->path().string()));
  }
  if (error) status.Update(ErrnoStatus(error.value(), "list", root));
  return status;
}

/// Downloads that were given up, of modules that nobody names.
absl::Status RemovePartial(const HubCache& cache, const SweepOptions& options) {
  std::error_code error;
  if (!fs::exists(cache.partial(), error)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<Handle> handles, ListFolders(cache.partial(), /*whole=*/false));
  const std::set<Handle> wanted(options.asked.begin(), options.asked.end());
  for (const Handle& handle : handles) {
    if (options.pins.handles.contains(handle) || (!wanted.empty() && !wanted.contains(handle))) continue;
    ASSIGN_OR_RETURN(const std::optional<FileLock> own, FileLock::TryTake(cache.LockPath(handle)));
    if (!own.has_value()) continue;
    const fs::path folder = ModuleFolder(cache.partial(), handle);
    fs::remove_all(folder, error);
    if (error) return ErrnoStatus(error.value(), "remove", folder.string());
    RemoveEmptyParents(folder);
  }
  return absl::OkStatus();
}

}  // namespace

uint64_t SweepPlan::removed_bytes() const {
  uint64_t bytes = 0;
  for (const Manifest& module : removed) bytes += module.bytes();
  return bytes;
}

absl::StatusOr<SweepPlan> PlanSweep(const std::vector<Manifest>& modules, const ModulePins& pins,
                                    const std::vector<Handle>& asked) {
  const std::map<Handle, Users> used = FindUsers(modules, pins);
  SweepPlan plan;
  plan.modules = modules.size();
  std::vector<ModuleEntry> entries;
  for (const Manifest& module : modules) entries.push_back(EntryOf(module));
  for (const Handle& handle : asked) {
    const auto is_it = [&](const Manifest& module) { return module.handle == handle; };
    if (std::none_of(modules.begin(), modules.end(), is_it)) {
      return absl::NotFoundError(absl::StrCat("handle '", handle.ToString(), "': got none of what is there to remove",
                                              NearestModules(handle, entries)));
    }
    const auto users = used.find(handle);
    if (users == used.end()) continue;
    return absl::FailedPreconditionError(absl::StrCat("handle '", handle.ToString(), "': got a module that ",
                                                      absl::StrJoin(users->second, " and "),
                                                      users->second.size() == 1 ? " uses" : " use",
                                                      ", want one that nobody uses; move its users to another "
                                                      "version first"));
  }
  const std::set<Handle> wanted(asked.begin(), asked.end());
  for (const Manifest& module : modules) {
    if (const auto users = used.find(module.handle); users != used.end()) {
      plan.kept.push_back({module.handle, users->second});
    } else if (wanted.empty() || wanted.contains(module.handle)) {
      plan.removed.push_back(module);
    }
  }
  return plan;
}

absl::StatusOr<SweepPlan> SweepStore(const std::string& root, const SweepOptions& options) {
  ASSIGN_OR_RETURN(const FileLock lock, FileLock::Take(StoreLockPath(root)));
  if (!options.dry_run) RETURN_IF_ERROR(RemoveStaging(root));
  ASSIGN_OR_RETURN(const FolderModules found, ReadModules(root));
  if (!found.unreadable.empty())
    return Unreadable(root, found.unreadable.front().first, found.unreadable.front().second);
  ASSIGN_OR_RETURN(SweepPlan plan, PlanSweep(found.modules, options.pins, options.asked));
  if (options.dry_run) return plan;
  absl::Status status;
  for (const Manifest& module : plan.removed) {
    status = MoveAway(root, module.handle);
    if (!status.ok()) break;
  }
  // Room first: a list can be written on a full disk only then. It is written whatever failed, of what is there.
  status.Update(RemoveStaging(root));
  std::vector<Manifest> left;
  for (const Manifest& module : found.modules) {
    std::error_code ignored;
    if (fs::exists(ModuleFolder(root, module.handle) / kManifestFile, ignored)) left.push_back(module);
  }
  status.Update(WriteIndex(root, left));
  if (!status.ok()) return status;
  return plan;
}

absl::StatusOr<SweepPlan> SweepCache(const HubCache& cache, const SweepOptions& options) {
  ASSIGN_OR_RETURN(const FileLock lock, FileLock::Take(cache.SweepLockPath()));
  if (!options.dry_run) RETURN_IF_ERROR(RemoveStaging(cache.modules()));
  ASSIGN_OR_RETURN(const std::vector<Handle> handles, ListFolders(cache.modules()));
  std::vector<Manifest> modules;
  std::vector<Handle> busy;
  for (const Handle& handle : handles) {
    absl::StatusOr<Manifest> module = cache.ReadCached(handle);
    if (!module.ok()) {
      // A pull may have been exchanging it.
      ASSIGN_OR_RETURN(const std::optional<FileLock> own, FileLock::TryTake(cache.LockPath(handle)));
      if (!own.has_value()) {
        busy.push_back(handle);
        continue;
      }
      module = cache.ReadCached(handle);
      if (absl::IsNotFound(module.status())) continue;
      if (!module.ok()) return Unreadable(cache.modules(), handle, module.status());
    }
    modules.push_back(*std::move(module));
  }
  ASSIGN_OR_RETURN(SweepPlan plan, PlanSweep(modules, options.pins, options.asked));
  plan.busy = std::move(busy);
  if (options.dry_run) return plan;
  RETURN_IF_ERROR(RemovePartial(cache, options));
  std::vector<Manifest> removed;
  for (Manifest& module : plan.removed) {
    ASSIGN_OR_RETURN(const std::optional<FileLock> own, FileLock::TryTake(cache.LockPath(module.handle)));
    if (!own.has_value()) {
      plan.busy.push_back(module.handle);
      continue;
    }
    const absl::StatusOr<Manifest> now = cache.ReadCached(module.handle);
    // A pull may have exchanged it since.
    if (!now.ok() || now->digest != module.digest) continue;
    RETURN_IF_ERROR(MoveAway(cache.modules(), module.handle));
    RETURN_IF_ERROR(RemoveStaging(cache.modules()));
    removed.push_back(std::move(module));
  }
  plan.removed = std::move(removed);
  return plan;
}

}  // namespace portico
