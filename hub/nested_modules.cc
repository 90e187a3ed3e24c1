#include "hub/nested_modules.h"

#include <deque>
#include <filesystem>
#include <map>
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

namespace {

using ByDigest = std::map<Digest, std::vector<ModuleEntry>>;

ByDigest Sorted(std::vector<ModuleEntry> entries) {
  ByDigest sorted;
  for (ModuleEntry& entry : entries) sorted[entry.digest].push_back(std::move(entry));
  return sorted;
}

absl::StatusOr<ByDigest> ListByDigest(const HubCache& cache) {
  ASSIGN_OR_RETURN(std::vector<ModuleEntry> entries, ListCached(cache));
  return Sorted(std::move(entries));
}
absl::StatusOr<ByDigest> ListByDigest(Store& store) {
  ASSIGN_OR_RETURN(std::vector<ModuleEntry> entries, store.List());
  return Sorted(std::move(entries));
}

const ModuleEntry* FindCalled(const PortalTarget& target, const ByDigest& entries) {
  const auto found = entries.find(target.digest);
  return found == entries.end() ? nullptr : FindCalled(target, absl::MakeConstSpan(found->second));
}

/// What modules call by digest, each digest once, in the order in which they are added.
class Calls {
 public:
  struct Call {
    PortalTarget target;
    Handle caller;
  };

  explicit Calls(const Manifest& module) : seen_({module.digest}) { Add(module); }

  void Add(const Manifest& caller) {
    for (const PortalTarget& target : caller.portals) {
      if (!target.digest.empty() && seen_.insert(target.digest).second) open_.push_back({target, caller.handle});
    }
  }

  std::optional<Call> Next() {
    if (open_.empty()) return std::nullopt;
    Call next = std::move(open_.front());
    open_.pop_front();
    return next;
  }

 private:
  std::set<Digest> seen_;
  std::deque<Call> open_;
};

}  // namespace

absl::StatusOr<bool> HasNested(const HubCache& cache, const Manifest& module) {
  if (module.portals.empty()) return true;
  ASSIGN_OR_RETURN(const ByDigest cached, ListByDigest(cache));
  Calls calls(module);
  while (const std::optional<Calls::Call> call = calls.Next()) {
    const ModuleEntry* entry = FindCalled(call->target, cached);
    if (entry == nullptr) return false;
    ASSIGN_OR_RETURN(const Manifest called, cache.ReadCached(entry->handle));
    calls.Add(called);
  }
  return true;
}

absl::StatusOr<NestedModules> PullNested(HubCache& cache, Store& store, const Manifest& module) {
  NestedModules nested;
  std::optional<ByDigest> cached;
  std::optional<absl::StatusOr<ByDigest>> stored;
  Calls calls(module);
  while (const std::optional<Calls::Call> call = calls.Next()) {
    const PortalTarget& target = call->target;
    const auto miss = [&](absl::string_view why) {
      nested.missing.push_back(absl::StrCat("'", target.name, "' of digest ", target.digest.Short(), ", which ",
                                            call->caller.ToString(), " calls: ", why));
    };
    if (!cached.has_value()) {
      ASSIGN_OR_RETURN(cached, ListByDigest(cache));
    }
    const ModuleEntry* entry = FindCalled(target, *cached);
    if (entry == nullptr && !stored.has_value()) {
      stored = ListByDigest(store);
      if (absl::IsCancelled(stored->status())) return stored->status();
    }
    if (entry == nullptr && !stored->ok()) {
      miss(absl::StrCat("what ", store.url(), " has cannot be listed: ", stored->status().message(),
                        "; pull it by its handle"));
      continue;
    }
    if (entry == nullptr) entry = FindCalled(target, **stored);
    if (entry == nullptr) {
      miss(absl::StrCat(store.url(), " does not have it; publish it there, or have it in the mesh by a path"));
      continue;
    }
    absl::StatusOr<HubCache::Pulled> pulled = cache.Pull(store, entry->handle);
    if (!pulled.ok()) {
      return WithContext(absl::StrCat("module '", call->caller.ToString(), "' calls '", target.name, "'"),
                         pulled.status());
    }
    if (pulled->manifest.digest != target.digest) {
      miss(absl::StrCat("got ", entry->handle.ToString(), " of digest ", pulled->manifest.digest.Short(), " from ",
                        store.url(), ", want ", target.digest.Short(),
                        ", which its list says it is; the list is not that of its modules"));
      continue;
    }
    calls.Add(pulled->manifest);
    nested.pulled.push_back(*std::move(pulled));
  }
  return nested;
}

}  // namespace portico
