#pragma once

#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "router/endpoint.h"
#include "transport/transport.h"

namespace portico {

/// Owns one Endpoint per URL, made when first asked for, so that all targets of a peer share its channel. Thread-safe;
/// not on the path of a call.
class ChannelPool {
 public:
  /// `transport` is not owned and must outlive the pool. `options`: of every channel.
  ChannelPool(Transport& transport, ChannelOptions options) : transport_(transport), options_(std::move(options)) {}
  /// Lives as long as the pool.
  Endpoint& Get(const std::string& url);
  /// Closes all channels; what is in flight completes with CANCELLED. Endpoints stay, without a channel.
  void Close();

 private:
  Transport& transport_;
  const ChannelOptions options_;
  Mutex mutex_;
  absl::flat_hash_map<std::string, std::unique_ptr<Endpoint>> endpoints_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace portico
