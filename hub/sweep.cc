#include "hub/sweep.h"

#include <cerrno>
#include <cstdio>
#include <deque>
#include <filesystem>

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
  std::vector<ModuleEntry> entries;
  for (const Manifest& module : modules) entries.push_back(EntryOf(module));
  for (const Handle& handle : asked) {
    const auto is_it = [&](const Manifest& module) { return module.handle == handle; };
    if (std::none_of(modules.begin(), modules.end(), is_it)) {
      return absl::NotFoundError(
          absl::StrCat("handle '", handle.ToString(), "': not there", NearestModules(handle, entries)));
    }
    const auto users = used.find(handle);
    if (users == used.end()) continue;
    return absl::FailedPreconditionError(absl::StrCat("handle '", handle.ToString(), "': got a module that ",
                                                      absl::StrJoin(users->second, " and "),
                                                      " uses, want one that nobody uses; move its users to another "
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

absl::StatusOr<std::vector<Manifest>> ReadManifests(const std::string& root) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, NewLocalStore(root));
  ASSIGN_OR_RETURN(const std::vector<Handle> handles, ListFolders(root));
  std::vector<Manifest> manifests;
  for (const Handle& handle : handles) {
    ASSIGN_OR_RETURN(manifests.emplace_back(), ReadManifest(*store, handle));
  }
  return manifests;
}

absl::Status RemoveModules(const std::string& root, const std::vector<Handle>& handles) {
  ASSIGN_OR_RETURN(const FileLock lock, FileLock::Take(StoreLockPath(root)));
  std::error_code error;
  for (const Handle& handle : handles) {
    ASSIGN_OR_RETURN(const std::string staging, MakeUniqueFolder(absl::StrCat(root, "/", kStagingPrefix)));
    const fs::path folder = ModuleFolder(root, handle);
    if (rename(folder.c_str(), (fs::path(staging) / "removed").c_str()) != 0) {
      return ErrnoStatus(errno, "remove", folder.string());
    }
    RETURN_IF_ERROR(SyncFolder(folder.parent_path().string()));
    fs::remove(folder.parent_path(), error);                // Where it was the last version,
    fs::remove(folder.parent_path().parent_path(), error);  // and the last module of its publisher.
  }
  RETURN_IF_ERROR(RewriteIndex(root));
  for (fs::directory_iterator entry(root, error); !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code failed;
    if (!absl::StartsWith(entry->path().filename().string(), kStagingPrefix)) continue;
    fs::remove_all(entry->path(), failed);
    if (failed) return ErrnoStatus(failed.value(), "remove", entry->path().string());
  }
  return error ? ErrnoStatus(error.value(), "list", root) : absl::OkStatus();
}

}  // namespace portico
