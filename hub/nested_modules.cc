#include "hub/nested_modules.h"

#include <deque>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "hub/local_store.h"

namespace portico {

const ModuleEntry* FindCalled(const PortalTarget& target, absl::Span<const ModuleEntry> entries) {
  const ModuleEntry* found = nullptr;
  if (target.digest.empty()) return found;
  for (const ModuleEntry& entry : entries) {
    if (entry.digest != target.digest) continue;
    if (entry.handle.Model() == target.name) return &entry;
    if (found == nullptr) found = &entry;
  }
  return found;
}

absl::StatusOr<std::vector<ModuleEntry>> ListCached(const HubCache& cache) {
  std::vector<ModuleEntry> entries;
  std::error_code error;
  if (!std::filesystem::is_directory(cache.modules(), error)) return entries;
  ASSIGN_OR_RETURN(const std::vector<Handle> handles, ListFolders(cache.modules()));
  for (const Handle& handle : handles) {
    const absl::StatusOr<Manifest> manifest = cache.ReadCached(handle);
    // What cannot be read is pulled anew when it is asked for.
    if (manifest.ok()) entries.push_back(EntryOf(*manifest));
  }
  return entries;
}

absl::StatusOr<NestedModules> PullNested(HubCache& cache, Store& store, const Manifest& module) {
  NestedModules called;
  std::set<Digest> seen = {module.digest};
  std::optional<std::vector<ModuleEntry>> cached, stored;
  struct Open {
    PortalTarget target;
    Handle caller;
  };
  std::deque<Open> open;
  const auto add = [&](const Manifest& caller) {
    for (const PortalTarget& target : caller.portals) {
      if (!target.digest.empty() && seen.insert(target.digest).second) open.push_back({target, caller.handle});
    }
  };
  add(module);
  for (; !open.empty(); open.pop_front()) {
    const PortalTarget& target = open.front().target;
    if (!cached.has_value()) {
      ASSIGN_OR_RETURN(cached, ListCached(cache));
    }
    const ModuleEntry* entry = FindCalled(target, *cached);
    if (entry == nullptr) {
      if (!stored.has_value()) {
        ASSIGN_OR_RETURN(stored, store.List());
      }
      entry = FindCalled(target, *stored);
    }
    if (entry == nullptr) {
      called.missing.push_back(absl::StrCat("'", target.name, "' of digest ", target.digest.Short(), ", which ",
                                            open.front().caller.ToString(), " calls"));
      continue;
    }
    absl::StatusOr<HubCache::Pulled> pulled = cache.Pull(store, entry->handle);
    if (!pulled.ok()) {
      return WithContext(absl::StrCat("module '", open.front().caller.ToString(), "' calls '", target.name, "'"),
                         pulled.status());
    }
    add(pulled->manifest);
    called.pulled.push_back(*std::move(pulled));
  }
  return called;
}

}  // namespace portico
