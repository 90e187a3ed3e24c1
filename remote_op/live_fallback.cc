#include "remote_op/live_fallback.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace portico {

absl::Status LiveFallback::Begin() {
  watch_ = router_.WatchPolicies([this] {
    const absl::Status status = Follow();
    if (!status.ok()) LogWarning(absl::StrCat(status.message(), "; this version keeps what it had"));
  });
  const absl::Status status = Follow();
  if (status.ok()) return status;
  // What is loaded for the next revision goes by the next revision's policy, once that is current.
  return Check(router_.NextOnErrorOf(spec_.target)).ok() ? absl::OkStatus() : status;
}

absl::Status LiveFallback::Check(const OnErrorPolicy& policy) const {
  return NewFallback(policy, spec_, router_.clock()).status();
}

absl::Status LiveFallback::Follow() {
  MutexLock lock(&mutex_);
  // Under the lock: of two that follow at once the later one has the newer policy.
  const OnErrorPolicy policy = router_.OnErrorOf(spec_.target);
  auto known = std::find_if(all_.begin(), all_.end(), [&](const Known& one) { return one.policy == policy; });
  if (known == all_.end()) {
    ASSIGN_OR_RETURN(std::unique_ptr<Fallback> fallback, NewFallback(policy, spec_, router_.clock()));
    known = all_.insert(known, Known{policy, std::move(fallback)});
  }
  Fallback* const before = current_.load(std::memory_order_relaxed);
  if (before == known->fallback.get()) return absl::OkStatus();
  current_.store(known->fallback.get(), std::memory_order_release);
  if (before != nullptr) before->Forget();
  return absl::OkStatus();
}

}  // namespace portico
