#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/event_thread.h"
#include "base/mutex.h"
#include "router/endpoint.h"
#include "transport/transport.h"

namespace portico {

/// Keeps one Endpoint per URL, made when first asked for, so that all targets of a peer share its channel; it is closed
/// once nobody has it any more. Thread-safe; not on the path of a call.
///
/// The last owner may be a call that ends on a thread of the very channel, which cannot wait for itself: so channels
/// are closed by a thread of the pool's own, which starts with the first one.
class ChannelPool {
 public:
  /// `transport` and `clock` are not owned and must outlive the pool. `options`: of every channel.
  ChannelPool(Transport& transport, ChannelOptions options, const Clock& clock)
      : transport_(transport), options_(std::move(options)), clock_(clock) {}
  /// Blocks until all endpoints have come back.
  ~ChannelPool();

  std::shared_ptr<Endpoint> Get(const std::string& url);
  /// Closes the channels of all endpoints that somebody has; what is in flight completes with CANCELLED. REQUIRES: no
  /// Get() any more.
  void Close();

 private:
  /// Takes back what its last owner let go, on whichever thread that is.
  void Retire(Endpoint* endpoint);

  Transport& transport_;
  const ChannelOptions options_;
  const Clock& clock_;
  Mutex mutex_;
  CondVar all_back_;
  absl::flat_hash_map<std::string, std::weak_ptr<Endpoint>> endpoints_ ABSL_GUARDED_BY(mutex_);
  int out_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<EventThread> closer_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
