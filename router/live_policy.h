#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "router/policies/policy.h"
#include "router/revision.h"

namespace portico {

/// How calls to one target are made, which a new revision may change while calls are under way: those go on by what
/// they began with. Thread-safe; reading is one load.
///
/// What was said once stays in memory as long as this lives, so that nobody has to count who still reads it; the same
/// said again is kept once. People change policies, not calls.
class LivePolicy {
 public:
  struct Terms {
    RoutePolicy policy;
    /// policy.balance; not owned.
    const BalancePolicy* balance = nullptr;
  };

  LivePolicy(const RoutePolicy& policy, const BalancePolicy& balance) { Set(policy, balance); }
  LivePolicy(const LivePolicy&) = delete;

  /// Lives as long as this does.
  const Terms& Get() const { return *terms_.load(std::memory_order_acquire); }
  const RoutePolicy& policy() const { return Get().policy; }
  /// `balance` must outlive this.
  void Set(const RoutePolicy& policy, const BalancePolicy& balance) {
    MutexLock lock(&mutex_);
    auto known = std::find_if(all_.begin(), all_.end(), [&](const auto& terms) { return terms->policy == policy; });
    if (known == all_.end()) known = all_.insert(known, std::make_unique<const Terms>(Terms{policy, &balance}));
    terms_.store(known->get(), std::memory_order_release);
  }

 private:
  std::atomic<const Terms*> terms_{nullptr};
  Mutex mutex_;
  std::vector<std::unique_ptr<const Terms>> all_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
