#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "router/etcd/client.h"

namespace portico {

/// A key in etcd that one process at a time holds, under a lease: who has it says so with every change it makes, and
/// one that has lost it changes nothing any more.
///
///   ASSIGN_OR_RETURN(lock, EtcdLock::Take(…));   …   RETURN_IF_ERROR(lock->Keep());   lock->Commit(transaction);
///
/// For one thread.
class EtcdLock {
 public:
  /// `owner`: who holds it, for people. FAILED_PRECONDITION where another one does, naming it. `client` is not owned
  /// and must outlive it.
  static absl::StatusOr<std::unique_ptr<EtcdLock>> Take(EtcdClient& client, const std::string& key,
                                                        const std::string& owner, absl::Duration ttl);
  /// Gives it back, where etcd answers; else its lease runs out.
  ~EtcdLock();

  /// To be called three times within `ttl` or more often; asks etcd when it is time. ABORTED where it is lost.
  absl::Status Keep(absl::Time now);
  /// All of it, while the lock is held. ABORTED where it is lost: nothing has changed.
  absl::Status Commit(EtcdTransaction transaction);

 private:
  EtcdLock(EtcdClient& client, std::string key, int64_t lease, absl::Duration ttl)
      : client_(client), key_(std::move(key)), lease_(lease), ttl_(ttl) {}
  absl::Status Lost() const;

  EtcdClient& client_;
  const std::string key_;
  const int64_t lease_;
  const absl::Duration ttl_;
  /// Of the key as we made it: another holder's is another.
  int64_t created_ = 0;
  absl::Time kept_ = absl::InfinitePast();
};

}  // namespace portico
