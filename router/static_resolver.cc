#include "router/static_resolver.h"

#include <utility>

namespace portico {

StaticResolver::StaticResolver(const std::map<std::string, std::vector<std::string>>& table) {
  for (const auto& [target, urls] : table) table_.emplace(target, std::vector<PeerAddress>(urls.begin(), urls.end()));
}

void StaticResolver::Update(Table table) {
  {
    MutexLock lock(&mutex_);
    if (table == table_) return;
    table_.swap(table);
  }
  watches_.TellAll();
}

std::vector<PeerAddress> StaticResolver::Resolve(absl::string_view servable) const {
  MutexLock lock(&mutex_);
  const auto found = table_.find(servable);
  return found == table_.end() ? std::vector<PeerAddress>() : found->second;
}

std::unique_ptr<Resolver::Watch> StaticResolver::WatchChanges(std::function<void()> changed) const {
  return watches_.Add(std::move(changed));
}

}  // namespace portico
