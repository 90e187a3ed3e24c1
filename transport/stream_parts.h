#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/time/time.h"
#include "base/event_thread.h"
#include "transport/stream_loops.h"
#include "transport/stream_socket.h"

namespace portico {

/// Makes what reads and writes a new connection's descriptor, which it takes: plain or TLS.
using SocketMaker = std::function<std::unique_ptr<StreamSocket>(int fd)>;

/// What channels and listeners of one transport share. Outlives them.
struct StreamParts {
  StreamLoops& loops;
  /// Asks the DNS, which blocks.
  EventThread& resolver;
  /// Each side says at least so often that it is there; StreamTransportOptions says more.
  absl::Duration heartbeat;
  int silent_ticks = 5;
  /// A message that is under way for so many heartbeats has to come at this pace from then on.
  int slow_ticks = 30;
  uint64_t slow_bytes_per_second = 16 << 10;
};

}  // namespace portico
