#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "models/graph/graph_plan.h"
#include "remote_op/fallback.h"
#include "router/router.h"

namespace portico {

/// The fallback of one portal, as the target's policy says now: a member of the portal. A call goes by the one that it
/// began with, whatever comes meanwhile.
///
/// On the path of each of the portal's calls: one load. Thread-safe. Fallbacks that were in use once stay as long as
/// this does, without what they remember, so that nobody has to count who still uses them; people change policies, not
/// calls.
class LiveFallback {
 public:
  /// `router` is not owned; it may go before this does, but not while calls begin.
  LiveFallback(const PortalSpec& spec, Router& router) : spec_(spec), router_(router) {}

  /// First, once: follows the router's policies from now on. INVALID_ARGUMENT, naming portal and output, where neither
  /// today's policy nor the one that comes next fits what the portal declares. What does not fit later changes nothing,
  /// and is logged.
  absl::Status Begin();
  /// Whether Begin() would take the policy.
  absl::Status Check(const OnErrorPolicy& policy) const;
  /// What a call that begins now falls back on; null: a call that fails fails. Lives as long as this does.
  Fallback* Get() const { return current_.load(std::memory_order_acquire); }

 private:
  struct Known {
    OnErrorPolicy policy;
    /// Null: to fail.
    std::unique_ptr<Fallback> fallback;
  };

  absl::Status Follow();

  const PortalSpec spec_;
  Router& router_;
  std::atomic<Fallback*> current_{nullptr};
  Mutex mutex_;
  std::vector<Known> all_ ABSL_GUARDED_BY(mutex_);
  /// Last: it calls Follow() while all else is there.
  std::unique_ptr<Resolver::Watch> watch_;
};

}  // namespace portico
