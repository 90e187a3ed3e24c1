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
  /// StreamTransportOptions says more.
  absl::Duration heartbeat;
  /// How often a connection is looked at: at most `heartbeat`, at most the pace that HELLO promises.
  absl::Duration tick;
  /// What a heartbeat is in ticks; and how many without a word end a connection.
  int heartbeat_ticks = 1;
  int silent_ticks = 5;

  uint32_t pace_ms() const { return static_cast<uint32_t>(absl::ToInt64Milliseconds(tick)); }
  /// A message that is under way for so many heartbeats has to come at this pace from then on.
  int slow_ticks = 30;
  uint64_t slow_bytes_per_second = 16 << 10;
};

}  // namespace portico
