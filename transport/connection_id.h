#pragma once

#include <atomic>
#include <cstdint>

namespace portico {

/// Names a new connection of a caller (PeerMessage::connection): never the same twice in one process, whichever
/// listeners it has.
inline uint64_t NextConnectionId() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace portico
