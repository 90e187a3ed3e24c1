#include "deploy/hub_modules.h"

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "hub/cache.h"
#include "hub/nested_modules.h"
#include "hub/store.h"

namespace portico {
namespace {

struct Known {
  /// Version folders by store and handle.
  std::map<std::pair<std::string, Handle>, std::string> folders;
};

absl::StatusOr<std::string> Pull(const std::string& url, const Handle& handle,
                                 const std::function<void(absl::string_view)>& say,
                                 const std::function<bool()>& cancelled) {
  HubCache::Options options;
  options.say = say;
  options.cancelled = cancelled;
  ASSIGN_OR_RETURN(HubCache cache, HubCache::Open(std::move(options)));
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, OpenStore(url, {.cancelled = cancelled}));
  ASSIGN_OR_RETURN(HubCache::Pulled pulled, cache.Pull(*store, handle));
  if (say && !pulled.was_there) say(absl::StrCat("pulled ", handle.ToString(), " from ", store->url()));
  // A pull before this one may have ended between the two.
  if (pulled.was_there && HasNested(cache, pulled.manifest).value_or(false)) return std::move(pulled.folder);
  // What the mesh does not name and needs is said when its portals are checked: by a handle where it is here.
  const absl::StatusOr<NestedModules> called = PullNested(cache, *store, pulled.manifest);
  for (size_t i = 0; say && called.ok() && i < called->pulled.size(); ++i) {
    if (called->pulled[i].was_there) continue;
    say(absl::StrCat("pulled ", called->pulled[i].manifest.handle.ToString(), ", which ", handle.ToString(),
                     " needs, from ", store->url()));
  }
  if (say && !called.ok()) say(absl::StrCat("what ", handle.ToString(), " calls: ", called.status().message()));
  return std::move(pulled.folder);
}

}  // namespace

FindModule PullModules(std::function<void(absl::string_view line)> say, std::function<bool()> cancelled) {
  return [say = std::move(say), cancelled = std::move(cancelled), known = std::make_shared<Known>()](
             const std::string& store, const Handle& handle) -> absl::StatusOr<std::string> {
    std::string& folder = known->folders[{store, handle}];
    std::error_code error;
    if (folder.empty() || !std::filesystem::is_directory(folder, error)) {
      absl::StatusOr<std::string> pulled = Pull(store, handle, say, cancelled);
      if (!pulled.ok()) return pulled.status();
      folder = *std::move(pulled);
    }
    return std::filesystem::path(folder).parent_path().string();
  };
}

std::optional<Handle> PulledModule(const PortalTarget& target) {
  std::error_code error;
  const absl::StatusOr<std::string> folder = HubCache::DefaultFolder();
  if (target.digest.empty() || !folder.ok() || !std::filesystem::is_directory(*folder, error)) return std::nullopt;
  const absl::StatusOr<HubCache> cache = HubCache::Open({});
  if (!cache.ok()) return std::nullopt;
  const absl::StatusOr<std::vector<ModuleEntry>> entries = ListCached(*cache);
  const ModuleEntry* entry = entries.ok() ? FindCalled(target, *entries) : nullptr;
  return entry == nullptr ? std::nullopt : std::optional<Handle>(entry->handle);
}

}  // namespace portico
