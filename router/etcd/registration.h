#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/metric_scope.h"
#include "base/mutex.h"
#include "router/etcd/client.h"

namespace portico {

/// Keeps a key in etcd while this process lives: under a lease that is renewed three times in its time, so that the key
/// goes when the process does. A lease that has run out (etcd was away for too long, or this process was stopped) is
/// followed by a new one, and the key is written again. What another one has there is left alone until it has gone.
///
///   registration.Set(value);  registration.WaitForFirst(patience);  …  registration.Set(other);  …
///   registration.Stop();   // the key has gone
///
/// Works on a thread of its own, from the first Set() on. Thread-safe.
class EtcdRegistration {
 public:
  /// Whose a value is that stands at the key before this process has written its own.
  struct Holder {
    enum class State { kGone, kRuns, kUnknown };
    /// kGone: nobody's any more, or our own; it is replaced.
    State state = State::kUnknown;
    /// For people: "process 17 on host 'a'".
    std::string who = "another process";
    /// How long it may outlive its process; zero: as long as ours.
    absl::Duration ttl;
  };
  struct Options {
    std::string key;
    /// How long the key outlives the process; whole seconds.
    absl::Duration ttl = absl::Seconds(5);
    /// After a failure; doubled for each further one, up to a third of `ttl`.
    absl::Duration retry_delay = absl::Milliseconds(100);
    /// By which etcd may be late to take away the keys of a lease that has run out.
    absl::Duration lateness = absl::Seconds(2);
    /// Says whose `value` is; empty: nothing is known of others. Called on the registration's thread.
    std::function<Holder(absl::string_view value)> holder;
  };

  /// `client` and `metrics` are not owned and must outlive it.
  EtcdRegistration(Options options, EtcdClient& client, MetricRegistry& metrics);
  /// Stops.
  ~EtcdRegistration() { Stop(); }

  /// Returns before it is written. Of several soon after each other the last is.
  void Set(std::string value);
  /// REQUIRES: Set() was called. Blocks until the key stands, until etcd is known to be away (OK: it is tried on and
  /// on), for `patience` at most where it does not answer at all, or until it is known that the key is another one's:
  /// ALREADY_EXISTS, at once where that one runs for certain, else when it has outlived what a dead one's would.
  absl::Status WaitForFirst(absl::Duration patience);
  /// Takes the key away (where etcd answers; else its lease runs out). Blocks for as long as that takes.
  void Stop();

 private:
  void Run();
  /// One round: a lease where there is none, the value where it is new, else a sign of life.
  absl::Status Renew(const std::string& value);
  /// Writes the value where nobody else's stands.
  absl::Status Claim(const std::string& value);
  void Say(const absl::Status& status);
  void Note(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

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
  absl::StatusCode said_ = absl::StatusCode::kOk;
  Holder holder_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::string value_ ABSL_GUARDED_BY(mutex_);
  /// Set since the thread looked.
  bool fresh_ ABSL_GUARDED_BY(mutex_) = false;
  /// How the last round went; UNKNOWN before the first.
  absl::Status outcome_ ABSL_GUARDED_BY(mutex_) = absl::UnknownError("");
  /// Of ALREADY_EXISTS: until when it may be a dead one's.
  absl::Time taken_for_certain_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
