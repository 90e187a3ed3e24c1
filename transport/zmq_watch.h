#pragma once

#include <cstdint>

namespace portico {

/// Watches what one connection has received since its last whole message, and can cut it.
///
/// libzmq keeps the frames of an unfinished message to itself, without a limit on their number; only the kernel's count
/// of received bytes shows a message that never ends. A Unix socket has no such count: its peer is of the same user,
/// because nobody else may open the socket's path.
///
/// libzmq owns the descriptor and may close it at any time; the kernel's socket cookie tells whether the number still
/// means the same connection. For one thread.
class ConnectionWatch {
 public:
  ConnectionWatch() = default;
  explicit ConnectionWatch(int fd);

  /// A whole message has come.
  void OnMessage() { whole_message_ = true; }
  /// Whether more than `limit` bytes have come since the last whole message.
  bool Exceeds(uint64_t limit);
  /// Whether a byte has come since the last call. True where the kernel does not count (Unix sockets).
  bool Heard();
  /// Ends the connection, whereupon libzmq closes it.
  void Cut() const;

 private:
  bool Same() const;
  uint64_t Received() const;

  int fd_ = -1;
  uint64_t cookie_ = 0;
  uint64_t received_before_ = 0;
  bool whole_message_ = false;
  uint64_t heard_bytes_ = 0;
};

}  // namespace portico
