#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "transport/transport.h"

namespace portico {

/// What one channel may have in flight: calls, and bytes of their tensors. Every call asks it before it is sent, and
/// leaves when it completes. Thread-safe, without a lock: of calls that come at once, one that would fit may be refused
/// because of another that does not.
class CallWindow {
 public:
  /// `endpoint` is for messages.
  CallWindow(std::string endpoint, const ChannelOptions& options)
      : endpoint_(std::move(endpoint)), max_calls_(options.max_calls), max_bytes_(options.max_bytes) {}

  /// Takes room for a call of `bytes`; one Leave() is owed then. RESOURCE_EXHAUSTED with limit and fill where there is
  /// none.
  absl::Status Enter(uint64_t bytes);
  void Leave(uint64_t bytes);

 private:
  const std::string endpoint_;
  const uint64_t max_calls_;
  const uint64_t max_bytes_;
  std::atomic<uint64_t> calls_{0};
  std::atomic<uint64_t> bytes_{0};
};

}  // namespace portico
