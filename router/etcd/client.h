#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace portico {

/// Where an etcd cluster is, and who we are to it. A value.
struct EtcdOptions {
  /// HOST:PORT of its members; empty: there is none.
  std::vector<std::string> endpoints;
  /// PEM texts. With `roots` it is TLS; with key and certificate we show who we are.
  std::string roots;
  std::string certificate;
  std::string key;
  /// Empty: nobody in particular.
  std::string user;
  std::string password;
  /// Of one attempt at one member.
  absl::Duration timeout = absl::Seconds(2);
};

/// One key as etcd has it.
struct EtcdEntry {
  std::string key;
  std::string value;
  /// When it was made, and changed last, in the store's count of changes. 0: it is not there.
  int64_t create_revision = 0;
  int64_t mod_revision = 0;
};

/// What is to be changed at once, or not at all.
struct EtcdTransaction {
  struct Condition {
    std::string key;
    /// 0: the key must not be there.
    int64_t create_revision = 0;
  };
  struct Put {
    std::string key;
    std::string value;
    /// 0: it stays until it is deleted.
    int64_t lease = 0;
  };
  std::vector<Condition> conditions;
  std::vector<Put> puts;
  std::vector<std::string> deletes;
};

/// What happened to keys, in order.
struct EtcdNews {
  struct Change {
    EtcdEntry entry;
    bool deleted = false;
  };
  /// Of the store as a whole: another one has other revisions.
  uint64_t cluster = 0;
  int64_t revision = 0;
  std::vector<Change> changes;
  /// More of the same follows.
  bool partial = false;
};

/// Changes of keys from some revision on. For one thread, but for Cancel().
class EtcdWatch {
 public:
  virtual ~EtcdWatch() = default;
  /// Blocks until there is news (the first one comes soon, and may be of nothing). OUT_OF_RANGE where what happened
  /// since the revision asked for is forgotten: list anew. Any other error: the stream has ended.
  virtual absl::StatusOr<EtcdNews> Next() = 0;
  /// Next() ends with an error soon. From any thread.
  virtual void Cancel() = 0;
};

/// Talks with an etcd cluster, API version 3. Every call blocks, and goes to the member that answered last; where that
/// is away, to each of the others once, for three times EtcdOptions::timeout at most: UNAVAILABLE or DEADLINE_EXCEEDED
/// when none answers. Messages name etcd.
/// Thread-safe. Off every request's path: who calls it has a thread of its own.
class EtcdClient {
 public:
  /// Contacts nobody. INVALID_ARGUMENT for endpoints or keys that are none.
  static absl::StatusOr<std::unique_ptr<EtcdClient>> Create(EtcdOptions options);
  /// REQUIRES: nobody is in a call, and watches are gone.
  ~EtcdClient();

  struct Listing {
    std::vector<EtcdEntry> entries;
    uint64_t cluster = 0;
    int64_t revision = 0;
  };
  /// All keys that begin so, by key, as they were at one moment. RESOURCE_EXHAUSTED where they are far too many.
  absl::StatusOr<Listing> List(const std::string& prefix);
  /// NOT_FOUND.
  absl::StatusOr<EtcdEntry> Get(const std::string& key);
  /// NOT_FOUND where there is no such lease.
  absl::Status Put(const std::string& key, absl::string_view value, int64_t lease);
  /// False: a condition does not hold, and nothing has changed.
  absl::StatusOr<bool> Commit(const EtcdTransaction& transaction);

  absl::StatusOr<int64_t> GrantLease(absl::Duration ttl);
  /// NOT_FOUND: it has run out.
  absl::Status KeepLeaseAlive(int64_t lease);
  /// What is under it goes.
  absl::Status RevokeLease(int64_t lease);

  /// Of keys that begin with `prefix`, from `revision` on. Errors show in Next().
  std::unique_ptr<EtcdWatch> Watch(const std::string& prefix, int64_t revision);

  /// Calls and watches end with CANCELLED from now on.
  void Stop();

 private:
  class Impl;
  explicit EtcdClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The end of the range of all keys that begin with `prefix`.
std::string EtcdRangeEnd(std::string prefix);

}  // namespace portico
