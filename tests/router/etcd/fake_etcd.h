#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "router/etcd/client.h"

namespace portico {

/// An etcd of one member in this process, over a real socket, that does what the test says: forgets history, drops
/// leases, ends watches, goes away and comes back at its port, or comes back as another. Thread-safe.
class FakeEtcd {
 public:
  FakeEtcd();
  ~FakeEtcd();

  const std::string& endpoint() const { return endpoint_; }
  EtcdOptions Options() const;

  /// Connections end; state stays.
  void Stop();
  /// At the port it had.
  void Start();
  /// All keys, leases and history go, and it is another cluster.
  void Wipe();
  /// What happened so far can't be watched any more.
  void Compact();
  /// Those that stand end, as where a member loses its leader.
  void EndWatches();
  /// All leases run out.
  void ExpireLeases();
  /// From now on callers have to be `user`; tokens given so far are of no use.
  void RequireUser(const std::string& user, const std::string& password);
  void ForgetTokens();

  void Put(const std::string& key, const std::string& value);
  void Delete(const std::string& key);
  std::map<std::string, std::string> Keys() const;
  size_t leases() const;
  /// Watches that stand.
  int watches() const;
  /// Blocks until `count` stand.
  void WaitForWatches(int count) const;
  /// Range calls so far.
  int ranges() const;

  class Services;

 private:
  std::string endpoint_;
  std::unique_ptr<Services> services_;
};

}  // namespace portico
