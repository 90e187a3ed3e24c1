#include "router/etcd/lock.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace portico {

absl::StatusOr<std::unique_ptr<EtcdLock>> EtcdLock::Take(EtcdClient& client, const std::string& key,
                                                         const std::string& owner, absl::Duration ttl) {
  ASSIGN_OR_RETURN(const int64_t lease, client.GrantLease(ttl));
  // From here on its end lets go of the lease.
  std::unique_ptr<EtcdLock> lock(new EtcdLock(client, key, lease, ttl));
  EtcdTransaction take;
  take.conditions = {{key, 0}};
  take.puts = {{key, absl::StrCat(owner, " ", lease), lease}};
  const absl::Status status = client.Commit(take).status();
  RETURN_IF_ERROR(status);
  // What was said twice, since the first answer was lost, may have been done.
  const absl::StatusOr<EtcdEntry> held = client.Get(key);
  if (held.ok() && held->value == take.puts[0].value) {
    lock->created_ = held->create_revision;
    return lock;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("lock '", key, "': got it held by ", held.ok() ? held->value : "another one",
                   ", want it free; one at a time changes a mesh, try again when that has ended"));
}

EtcdLock::~EtcdLock() { client_.RevokeLease(lease_).IgnoreError(); }

absl::Status EtcdLock::Keep(absl::Time now) {
  if (now - kept_ < ttl_ / 3) return absl::OkStatus();
  const absl::Status status = client_.KeepLeaseAlive(lease_);
  if (absl::IsNotFound(status)) return Lost();
  // Away for a while: the lease may outlive that, and every change shows.
  if (status.ok()) kept_ = now;
  return absl::OkStatus();
}

absl::Status EtcdLock::Commit(EtcdTransaction transaction) {
  transaction.conditions.push_back({key_, created_});
  ASSIGN_OR_RETURN(const bool done, client_.Commit(transaction));
  return done ? absl::OkStatus() : Lost();
}

absl::Status EtcdLock::Lost() const {
  return absl::AbortedError(absl::StrCat("lock '", key_, "': lost it, want it held; nothing was changed since"));
}

}  // namespace portico
