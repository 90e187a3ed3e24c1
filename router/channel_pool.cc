#include "router/channel_pool.h"

#include <vector>

namespace portico {

Endpoint& ChannelPool::Get(const std::string& url) {
  MutexLock lock(&mutex_);
  std::unique_ptr<Endpoint>& endpoint = endpoints_[url];
  if (endpoint == nullptr) {
    endpoint = std::make_unique<Endpoint>(url);
    endpoint->Connect(transport_, options_);
  }
  return *endpoint;
}

void ChannelPool::Close() {
  std::vector<Endpoint*> endpoints;
  {
    MutexLock lock(&mutex_);
    for (const auto& [url, endpoint] : endpoints_) endpoints.push_back(endpoint.get());
  }
  // Without the lock: completions run in here.
  for (Endpoint* endpoint : endpoints) endpoint->Disconnect();
}

}  // namespace portico
