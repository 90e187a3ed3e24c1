#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "base/mutex.h"

namespace portico {

/// Stands between a portal and a replica on `tcp://`, passes bytes on, and does to them what networks and broken
/// machines do. Faults may be switched while connections are open. Thread-safe.
class ChaosProxy {
 public:
  /// `target`: "tcp://127.0.0.1:PORT"; need not be there yet.
  explicit ChaosProxy(const std::string& target);
  ~ChaosProxy();
  ChaosProxy(const ChaosProxy&) = delete;
  ChaosProxy& operator=(const ChaosProxy&) = delete;

  /// What the portal calls.
  const std::string& endpoint() const { return endpoint_; }
  /// Connections so far.
  int64_t connections() const { return connections_; }

  /// Of what the replica sends, this share of the pieces read is held back for so long; what is behind it waits too.
  void Slow(double share, absl::Duration delay);
  /// While true nothing passes in either direction, and nobody is told.
  void Partition(bool on) { partitioned_ = on; }
  /// While true, random bytes are sent in place of what the replica sends.
  void Garble(bool on) { garbles_ = on; }
  /// Ends all connections by reset.
  void Cut();

 private:
  struct Connection;

  void Accept();
  void Serve(Connection& connection);
  /// Passes on what there is. False at the end of either side.
  bool Pass(int from, int to, bool from_replica);
  bool Stalled() const { return partitioned_ && !stopping_; }

  const int target_port_;
  int listener_ = -1;
  std::string endpoint_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> partitioned_{false};
  std::atomic<bool> garbles_{false};
  std::atomic<int64_t> slow_per_million_{0};
  std::atomic<int64_t> delay_us_{0};
  std::atomic<int64_t> connections_{0};
  Mutex mutex_;
  std::list<Connection> open_ ABSL_GUARDED_BY(mutex_);
  std::thread acceptor_;
};

}  // namespace portico
