#pragma once

#include <functional>
#include <list>
#include <memory>
#include <utility>

#include "base/mutex.h"
#include "router/resolver.h"

namespace portico {

/// Who wants to know when a resolver's answers change: a member of resolvers. Outlives its watches. Thread-safe.
class ResolverWatches {
 public:
  std::unique_ptr<Resolver::Watch> Add(std::function<void()> changed) {
    MutexLock lock(&mutex_);
    return std::make_unique<Entry>(*this, list_.insert(list_.end(), std::move(changed)));
  }
  /// REQUIRES: what Resolve() says has changed already, and no lock is held that it needs.
  void TellAll() {
    MutexLock lock(&mutex_);
    for (const std::function<void()>& changed : list_) changed();
  }

 private:
  using List = std::list<std::function<void()>>;
  class Entry final : public Resolver::Watch {
   public:
    Entry(ResolverWatches& watches, List::iterator place) : watches_(watches), place_(place) {}
    ~Entry() override {
      MutexLock lock(&watches_.mutex_);
      watches_.list_.erase(place_);
    }

   private:
    ResolverWatches& watches_;
    const List::iterator place_;
  };

  /// Held while they are told: one at a time, and none after its watch has ended.
  Mutex mutex_;
  List list_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
