#include "router/channel_pool.h"

#include <vector>

namespace portico {

ChannelPool::~ChannelPool() {
  std::unique_ptr<EventThread> closer;
  {
    MutexLock lock(&mutex_);
    while (out_ > 0) all_back_.Wait(&mutex_);
    closer = std::move(closer_);
  }
  if (closer != nullptr) closer->Flush();
}

std::shared_ptr<Endpoint> ChannelPool::Get(const std::string& url) {
  MutexLock lock(&mutex_);
  std::weak_ptr<Endpoint>& known = endpoints_[url];
  if (std::shared_ptr<Endpoint> endpoint = known.lock(); endpoint != nullptr) return endpoint;
  auto fresh = std::make_unique<Endpoint>(url);
  fresh->Connect(transport_, options_);
  std::shared_ptr<Endpoint> endpoint(fresh.release(), [this](Endpoint* gone) { Retire(gone); });
  ++out_;
  known = endpoint;
  return endpoint;
}

void ChannelPool::Retire(Endpoint* endpoint) {
  std::unique_ptr<Endpoint> gone(endpoint);
  MutexLock lock(&mutex_);
  // Somebody may have asked for the same URL meanwhile.
  const auto found = endpoints_.find(gone->url());
  if (found != endpoints_.end() && found->second.expired()) endpoints_.erase(found);
  if (gone->channel() != nullptr) {
    if (closer_ == nullptr) closer_ = std::make_unique<EventThread>("channels", clock_);
    closer_->Post([gone = std::move(gone)]() mutable { gone = nullptr; });
  }
  if (--out_ == 0) all_back_.NotifyAll();
}

void ChannelPool::Close() {
  std::vector<std::shared_ptr<Endpoint>> endpoints;
  {
    MutexLock lock(&mutex_);
    for (const auto& [url, known] : endpoints_) {
      if (std::shared_ptr<Endpoint> endpoint = known.lock(); endpoint != nullptr) {
        endpoints.push_back(std::move(endpoint));
      }
    }
  }
  // Without the lock: completions run in here.
  for (const std::shared_ptr<Endpoint>& endpoint : endpoints) endpoint->Disconnect();
}

}  // namespace portico
