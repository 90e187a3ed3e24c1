#include "deploy/hub_modules.h"

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "hub/cache.h"
#include "hub/store.h"

namespace portico {
namespace {

struct Known {
  /// Version folders by store and handle.
  std::map<std::pair<std::string, Handle>, std::string> folders;
};

absl::StatusOr<std::string> Pull(const std::string& url, const Handle& handle,
                                 const std::function<void(absl::string_view)>& say) {
  HubCache::Options options;
  options.say = say;
  ASSIGN_OR_RETURN(HubCache cache, HubCache::Open(std::move(options)));
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, OpenStore(url));
  ASSIGN_OR_RETURN(HubCache::Pulled pulled, cache.Pull(*store, handle));
  if (say && !pulled.was_there) say(absl::StrCat("pulled ", handle.ToString(), " from ", store->url()));
  return std::move(pulled.folder);
}

}  // namespace

FindModule PullModules(std::function<void(absl::string_view line)> say) {
  return [say = std::move(say), known = std::make_shared<Known>()](
             const std::string& store, const Handle& handle) -> absl::StatusOr<std::string> {
    std::string& folder = known->folders[{store, handle}];
    std::error_code error;
    if (folder.empty() || !std::filesystem::is_directory(folder, error)) {
      absl::StatusOr<std::string> pulled = Pull(store, handle, say);
      if (!pulled.ok()) return pulled.status();
      folder = *std::move(pulled);
    }
    return std::filesystem::path(folder).parent_path().string();
  };
}

}  // namespace portico
