#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/metric_scope.h"
#include "base/mutex.h"
#include "router/etcd/client.h"

namespace portico {

/// A copy of all keys below a prefix, kept like etcd's own: listed once, then watched from there on. A watch that is
/// lost goes on where it ended, at another member; where etcd has forgotten what happened since, or is another etcd
/// than before, the keys are listed anew. While no member answers, the copy stays as it was, attempts come ever later,
/// and that is logged once; so is the end of it.
///
/// Works on a thread of its own, which calls back.
class EtcdMirror {
 public:
  /// Key without the prefix → value.
  using Entries = std::map<std::string, std::string, std::less<>>;
  struct Options {
    /// Ends with a slash.
    std::string prefix;
    /// Before the second attempt; doubled for each further one, up to the longest.
    absl::Duration retry_delay = absl::Milliseconds(100);
    absl::Duration longest_retry_delay = absl::Seconds(2);
    /// With every change, and with the first listing. On its thread, one call at a time.
    std::function<void(const Entries&)> on_change;
  };

  /// `client` and `metrics` are not owned and must outlive it.
  EtcdMirror(Options options, EtcdClient& client, MetricRegistry& metrics);
  /// Joins: at once where a watch stands; else after the attempt under way, which EtcdClient::Stop() ends.
  ~EtcdMirror();

  /// Blocks until the first listing has been told, at most so long. Whether it has.
  bool WaitForFirst(absl::Duration timeout);

 private:
  void Run();
  /// Until the watch ends. `*worked`: etcd has answered meanwhile.
  absl::Status Follow(bool* worked);
  absl::Status List();
  void Apply(EtcdNews news);
  void Say(const absl::Status& status);
  /// False: it is to end.
  bool Sleep(absl::Duration delay);

  const Options options_;
  EtcdClient& client_;
  MetricScope metrics_;
  Gauge& connected_metric_;
  Counter& listings_metric_;
  Counter& failures_metric_;
  // Of its thread.
  Entries entries_;
  uint64_t cluster_ = 0;
  /// Up to which the entries are true; 0: they are to be listed.
  int64_t revision_ = 0;
  /// Of the latest change that came, whole or in part.
  int64_t seen_ = 0;
  bool away_ = false;
  bool untold_ = false;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool told_ ABSL_GUARDED_BY(mutex_) = false;
  /// Under way; null: none. Owned by the thread.
  EtcdWatch* watch_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::thread thread_;
};

}  // namespace portico
