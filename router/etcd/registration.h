#pragma once

#include <cstdint>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/metric_scope.h"
#include "base/mutex.h"
#include "router/etcd/client.h"

namespace portico {

/// Keeps a key in etcd while this process lives: under a lease that is renewed three times in its time, so that the key
/// goes when the process does. A lease that has run out (etcd was away for too long, or this process was stopped) is
/// followed by a new one, and the key is written again.
///
///   registration.Set(value);  …  registration.Set(other);  …  registration.Stop();   // the key has gone
///
/// Works on a thread of its own, from the first Set() on. Thread-safe.
class EtcdRegistration {
 public:
  struct Options {
    std::string key;
    /// How long the key outlives the process; whole seconds.
    absl::Duration ttl = absl::Seconds(5);
    /// After a failure; doubled for each further one, up to a third of `ttl`.
    absl::Duration retry_delay = absl::Milliseconds(100);
  };

  /// `client` and `metrics` are not owned and must outlive it.
  EtcdRegistration(Options options, EtcdClient& client, MetricRegistry& metrics);
  /// Stops.
  ~EtcdRegistration() { Stop(); }

  /// Returns before it is written. Of several soon after each other the last is.
  void Set(std::string value);
  /// Takes the key away (where etcd answers; else its lease runs out). Blocks for as long as that takes.
  void Stop();

 private:
  void Run();
  /// One round: a lease where there is none, the value where it is new, else a sign of life.
  absl::Status Renew(const std::string& value);
  void Say(const absl::Status& status);

  const Options options_;
  EtcdClient& client_;
  MetricScope metrics_;
  Gauge& registered_metric_;
  Counter& leases_metric_;
  // Of its thread.
  int64_t lease_ = 0;
  absl::Time renewed_;
  std::string written_;
  bool is_written_ = false;
  bool away_ = false;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::string value_ ABSL_GUARDED_BY(mutex_);
  /// Set since the thread looked.
  bool fresh_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
